"""Connects, or listens, and tells what each step came to, as one JSON line.

`connect ADDRESS PORT [HEX...]` connects, sends the given bytes one call each, and reads once.
Each of its calls ends after PATIENCE seconds, a variable of the environment.
`listen ADDRESS PORT` binds and listens; where that worked it stays until it is killed.
`after` repeats what the kernel says about the socket: TCP_REPAIR, the state and the options that arming uses.
"""

import errno
import json
import os
import socket
import struct
import sys
import time

TCP_REPAIR = 19
TCP_FASTOPEN_CONNECT = 30
TCP_NO_COOKIE = 34

PATIENCE = int(os.environ.get("PATIENCE", "20"))


def attempt(steps, name, call):
    try:
        call()
        steps.append([name, "ok"])
    except OSError as error:
        steps.append([name, errno.errorcode.get(error.errno, str(error.errno))])
        return False
    return True


def say(connection, steps):
    number = lambda option: connection.getsockopt(socket.IPPROTO_TCP, option)
    after = {
        "repair": number(TCP_REPAIR),
        "fastopenConnect": number(TCP_FASTOPEN_CONNECT),
        "noCookie": number(TCP_NO_COOKIE),
        "state": connection.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, 1)[0],
    }
    print(json.dumps({"steps": steps, "after": after}), flush=True)


what, address, port, *payloads = sys.argv[1:]
family, where = socket.getaddrinfo(address, int(port), type=socket.SOCK_STREAM)[0][::4]
steps = []
connection = socket.socket(family, socket.SOCK_STREAM)
if what == "listen":
    connection.bind(where)
    listens = attempt(steps, "listen", lambda: connection.listen())
    say(connection, steps)
    while listens:
        time.sleep(60)
else:
    # A blocking socket whose calls end all the same.
    for option in (socket.SO_SNDTIMEO, socket.SO_RCVTIMEO):
        connection.setsockopt(socket.SOL_SOCKET, option, struct.pack("ll", PATIENCE, 0))
    if attempt(steps, "connect", lambda: connection.connect(where)):
        for payload in payloads:
            if not attempt(steps, "send", lambda: connection.sendall(bytes.fromhex(payload))):
                break
        else:
            attempt(steps, "recv", lambda: connection.recv(4096))
    say(connection, steps)
