"""A client that knows how stealth works and does otherwise: `ADDRESS PORT ISN HEX...`.

It chooses its own ISN by TCP_REPAIR, without the library and without the control process, and sends each of
the given byte strings as a segment of its own. Timestamps must be off, so that its token is for T = 0.
Says on standard error that they are sent, then prints what it got back as hex, or the name of the errno that ended
the connection.
"""

import errno
import socket
import sys
import time

TCP_REPAIR, TCP_REPAIR_QUEUE, TCP_QUEUE_SEQ = 19, 20, 21
TCP_SEND_QUEUE = 2
REPAIR_OFF_NO_WINDOW_PROBE = -1

address, port, isn, *segments = sys.argv[1:]
family, where = socket.getaddrinfo(address, int(port), type=socket.SOCK_STREAM)[0][::4]
connection = socket.socket(family, socket.SOCK_STREAM)
tcp = lambda option, value: connection.setsockopt(socket.IPPROTO_TCP, option, value)
tcp(TCP_REPAIR, 1)
tcp(TCP_REPAIR_QUEUE, TCP_SEND_QUEUE)
# setsockopt takes a signed int.
tcp(TCP_QUEUE_SEQ, (int(isn) ^ 0x80000000) - 0x80000000)
tcp(TCP_REPAIR, REPAIR_OFF_NO_WINDOW_PROBE)
tcp(socket.TCP_NODELAY, 1)
connection.settimeout(5)
try:
    connection.connect(where)
    for number, segment in enumerate(segments):
        # Time enough for the server to look at a segment before the next one is there.
        time.sleep(0.1 if number else 0)
        connection.sendall(bytes.fromhex(segment))
    print("sent", file=sys.stderr, flush=True)
    print(connection.recv(4096).hex() or "end")
except OSError as error:
    print(errno.errorcode.get(error.errno, "timeout" if isinstance(error, TimeoutError) else str(error)))
