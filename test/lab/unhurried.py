"""Accepts, without wanting to wait, a connection whose client holds its first bytes back: how long does that take?"""

import errno
import json
import select
import socket
import time

TCP_STEALTH, TCP_STEALTH_INTEGRITY, TCP_STEALTH_INTEGRITY_LEN = 26, 27, 28
SECRET, PAYLOAD = b"a secret of two sockets", b"what will be written, some time"

listener, client = socket.socket(), socket.socket()
listener.setsockopt(socket.IPPROTO_TCP, TCP_STEALTH, SECRET)
listener.setsockopt(socket.IPPROTO_TCP, TCP_STEALTH_INTEGRITY_LEN, len(PAYLOAD))
listener.bind(("127.0.0.1", 0))
listener.listen()
listener.setblocking(False)
client.setsockopt(socket.IPPROTO_TCP, TCP_STEALTH, SECRET)
client.setsockopt(socket.IPPROTO_TCP, TCP_STEALTH_INTEGRITY, PAYLOAD)
client.connect(listener.getsockname())
readable = select.select([listener], [], [], 5)[0] != []
began = time.monotonic()
try:
    listener.accept()
    result = "accepted"
except OSError as error:
    result = errno.errorcode[error.errno]
took = time.monotonic() - began
try:
    answer = client.recv(1)
except OSError as error:
    answer = errno.errorcode[error.errno]
print(json.dumps({"readable": readable, "result": result, "took": took, "client": str(answer)}))
