"""A client of the control process whose sockets linger: `SOCKET`, one message on standard input, as hex.

Hands over sockets that take a minute to close, in every way there is, and asks after each whether the control process
still answers. Prints the ways after which it did.
"""

import array
import select
import socket
import struct
import sys

path = sys.argv[1]
message = bytes.fromhex(sys.stdin.readline())

# Seconds.
LINGER = 60
PATIENCE = 15

listener = socket.socket()
listener.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
listener.bind(("127.0.0.1", 0))
listener.listen(64)
# Never read from.
peers = []


def lingering():
    one = socket.socket()
    one.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 4096)
    one.connect(listener.getsockname())
    peers.append(listener.accept()[0])
    one.setblocking(False)
    try:
        while True:
            one.send(bytes(65536))
    except BlockingIOError:
        pass
    one.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, LINGER))
    return one


def session():
    one = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    one.connect(path)
    return one


def send(client, data, sockets):
    rights = array.array("i", [one.fileno() for one in sockets])
    try:
        client.sendmsg([data], [(socket.SOL_SOCKET, socket.SCM_RIGHTS, rights)])
    except BrokenPipeError:
        pass
    for one in sockets:
        one.close()


def nested():
    ours, theirs = socket.socketpair()
    send(ours, b"x", [lingering()])
    ours.close()
    return theirs


def queued(data):
    """Behind a message that ends the session."""
    client = session()
    some = lingering()
    client.send(b"nonsense")
    send(client, data, [some])
    client.close()


def alone(data, sockets):
    client = session()
    send(client, data, sockets)
    client.close()


WAYS = {
    "in a message": lambda: alone(message, [lingering()]),
    "too many": lambda: alone(message, [lingering() for _ in range(7)]),
    "with nonsense": lambda: alone(b"nonsense", [lingering()]),
    "with nothing": lambda: alone(b"", [lingering()]),
    "with what is cut": lambda: alone(bytes(65536), [lingering()]),
    "in a socket": lambda: alone(message, [nested()]),
    "left in the queue": lambda: [queued(message) for _ in range(20)],
    "left in the queue, with nothing": lambda: [queued(b"") for _ in range(20)],
}


def answers():
    client = session()
    client.send(b"nonsense")
    ready, _, _ = select.select([client], [], [], PATIENCE)
    return bool(ready) and len(client.recv(4096)) > 0


for name, way in WAYS.items():
    way()
    if not answers():
        sys.exit(f"no answer after: {name}")
    print(name)
