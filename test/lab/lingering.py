"""A client of the control process whose sockets linger: `SOCKET`, one message on standard input, as hex.

Hands over sockets that take a minute to close, in every way there is, and asks after each whether the control process
still answers. Prints the ways after which it did.
"""

import array
import select
import socket
import sys

import lingerers

path = sys.argv[1]
message = bytes.fromhex(sys.stdin.readline())

# Seconds.
LINGER = 60
PATIENCE = 15
# The control process may be faster to close what it is handed than we are; then it has nothing to wait for.
TRIES = 20

reader = lingerers.reader(backlog=1024, buffer=4096)


def lingering():
    return lingerers.lingering(reader, LINGER)


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
    return any([lingerers.closed_first(one) for one in sockets])


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
    ours_first = send(client, data, [some])
    client.close()
    return ours_first


def alone(data, sockets):
    client = session()
    ours_first = send(client, data, sockets)
    client.close()
    return ours_first


WAYS = {
    "in a message": lambda: alone(message, [lingering()]),
    "too many": lambda: alone(message, [lingering() for _ in range(7)]),
    "with nonsense": lambda: alone(b"nonsense", [lingering()]),
    "with nothing": lambda: alone(b"", [lingering()]),
    "with what is cut": lambda: alone(bytes(65536), [lingering()]),
    "in a socket": lambda: alone(message, [nested()]),
    "left in the queue": lambda: any([queued(message) for _ in range(20)]),
    "left in the queue, with nothing": lambda: any([queued(b"") for _ in range(20)]),
}


def answers():
    client = session()
    client.send(b"nonsense")
    ready, _, _ = select.select([client], [], [], PATIENCE)
    return bool(ready) and len(client.recv(4096)) > 0


for name, way in WAYS.items():
    if not any(way() for _ in range(TRIES)):
        sys.exit(f"the control process was faster, {TRIES} times: {name}")
    if not answers():
        sys.exit(f"no answer after: {name}")
    print(name)
