"""Connections one after another, and the server for them.

`serve ADDRESS PORT FIRST`: accepts, answers one byte with another, closes; before its client does if FIRST is `server`.
`connect ADDRESS PORT FIRST COUNT BYTES PORTS`: COUNT times connects, sends BYTES bytes, reads the answer and closes.
FIRST is who closes first: that end keeps the connection in TIME-WAIT. Of PORTS connections each takes a second at
least, which is how long the kernel keeps a port of its own in TIME-WAIT from being used again. Prints how often each
outcome came, as JSON: `ok`, or the errno's name.
"""

import collections
import errno
import json
import socket
import sys
import time

A_SECOND_OF_THE_KERNELS = 2.1  # It counts whole ones.

what, address, port, first, *rest = sys.argv[1:]
family, where = socket.getaddrinfo(address, int(port), type=socket.SOCK_STREAM)[0][::4]


def serve():
    listener = socket.socket(family, socket.SOCK_STREAM)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    listener.bind(where)
    listener.listen(128)
    while True:
        connection, _ = listener.accept()
        with connection:
            try:
                connection.recv(4096)
                connection.sendall(b".")
                if first == "client":
                    connection.recv(1)
            except OSError:
                pass


def once(payload):
    with socket.socket(family, socket.SOCK_STREAM) as connection:
        connection.settimeout(10)
        connection.connect(where)
        connection.sendall(payload)
        if connection.recv(1) != b".":
            return "no answer"
        if first == "server" and connection.recv(1) != b"":
            return "more than one byte"
    return "ok"


def connect(count, length, ports):
    outcomes = collections.Counter()
    began = 0.0
    for number in range(count):
        if first == "client" and number % ports == 0:
            time.sleep(max(0.0, began + A_SECOND_OF_THE_KERNELS - time.monotonic()))
            began = time.monotonic()
        try:
            outcomes[once(b"x" * length)] += 1
        except OSError as error:
            outcomes[errno.errorcode.get(error.errno, type(error).__name__)] += 1
    print(json.dumps(outcomes))


if what == "serve":
    serve()
else:
    connect(*map(int, rest))
