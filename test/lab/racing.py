"""A client of the control process that takes the delay of its connect back: `SOCKET`, one message on standard input, as hex.

Hands over blocking sockets and clears TCP_FASTOPEN_CONNECT on them until it is answered. Prints for each what the answer
says, and asks afterwards whether the control process still answers others.
"""

import array
import select
import socket
import sys
import time

path = sys.argv[1]
message = bytes.fromhex(sys.stdin.readline())

TCP_FASTOPEN_CONNECT = 30
# Seconds.
PATIENCE = 15


def session():
    one = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    one.connect(path)
    return one


def asked(some):
    client = session()
    rights = array.array("i", [some.fileno()])
    client.sendmsg([message], [(socket.SOL_SOCKET, socket.SCM_RIGHTS, rights)])
    return client


def is_ready(client, seconds):
    return bool(select.select([client], [], [], seconds)[0])


def answer(client):
    if not is_ready(client, PATIENCE):
        sys.exit("no answer")
    return client.recv(65536)


def race(blocking):
    some = socket.socket()
    some.setblocking(blocking)
    client = asked(some)
    deadline = time.monotonic() + PATIENCE
    while not is_ready(client, 0):
        if time.monotonic() > deadline:
            sys.exit("no answer to who races")
        try:
            some.setsockopt(socket.IPPROTO_TCP, TCP_FASTOPEN_CONNECT, 0)
        except OSError:
            pass
    text = answer(client)
    client.close()
    return text


def others():
    client = session()
    client.send(b"nonsense")
    return len(answer(client)) > 0


# The like of it is answered promptly from now on.
answer(asked(socket.socket()))
for blocking in (True, False):
    print("not delayed" if b"did not delay the connect" in race(blocking) else "answered")
    assert others()
