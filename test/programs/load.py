"""Connections without end, and the server for them.

`serve ADDRESS PORT`: an echo server, a thread a connection.
`load ADDRESS PORT`: connects, writes, reads and closes again and again.
`steady ADDRESS PORT`: the same over one connection.
`plain ADDRESS PORT`: connects with a type of service by which a capture can tell.

All but the first go on until SIGTERM, and then print how often each outcome came, as JSON: `ok`, or the
errno's name.
"""

import collections
import errno
import json
import signal
import socket
import socketserver
import sys
import time

PLAIN_SERVICE = 0x20
REQUEST = b"what a client says first, always the same, and long enough"
PAUSE = 0.01

what, address = sys.argv[1], (sys.argv[2], int(sys.argv[3]))


class Echo(socketserver.BaseRequestHandler):
    def handle(self):
        try:
            while data := self.request.recv(4096):
                self.request.sendall(data)
        except OSError:
            pass


class Server(socketserver.ThreadingTCPServer):
    allow_reuse_address = True
    daemon_threads = True


def connect():
    connection = socket.socket()
    connection.settimeout(20)
    if what == "plain":
        connection.setsockopt(socket.IPPROTO_IP, socket.IP_TOS, PLAIN_SERVICE)
    try:
        connection.connect(address)
        return connection
    except OSError:
        connection.close()
        raise


def exchange(connection):
    connection.sendall(REQUEST)
    got = b""
    while len(got) < len(REQUEST):
        data = connection.recv(4096)
        if not data:
            return "ended early"
        got += data
    return "ok" if got == REQUEST else "wrong data"


def once():
    with connect() as connection:
        return exchange(connection)


def outcome(action):
    try:
        return action()
    except OSError as error:
        return errno.errorcode.get(error.errno, str(error))


if what == "serve":
    with Server(address, Echo) as server:
        server.serve_forever()
steady = connect() if what == "steady" else None
outcomes = collections.Counter()
ends = []
signal.signal(signal.SIGTERM, lambda *_: ends.append(True))
print("begun", flush=True)
while not ends:
    time.sleep(PAUSE)
    outcomes[outcome(lambda: exchange(steady) if steady else once())] += 1
print(json.dumps(outcomes))
