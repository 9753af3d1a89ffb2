"""A client of the control process that means it ill: `SOCKET SEED`, one datagram a line on standard input, as hex.

Sends them in sessions of one to four, with descriptors of every kind, none, or too many; reads answers or not; hangs
up at any time. Prints how many datagrams were sent and how many answers came.
"""

import os
import random
import select
import socket
import sys

path, seed = sys.argv[1:]
chance = random.Random(int(seed))

MOST = 253  # SCM_MAX_FD
# Not everything is answered, nor at once. Seconds.
IMPATIENCE = 0.2


def tcp(family=socket.AF_INET):
    return socket.socket(family, socket.SOCK_STREAM)


def listening():
    fd = tcp()
    fd.bind(("127.0.0.1", 0))
    fd.listen()
    return fd


listener = listening()


def connected():
    fd = socket.create_connection(listener.getsockname())
    listener.accept()[0].close()
    return fd


KINDS = [
    tcp,
    lambda: tcp(socket.AF_INET6),
    listening,
    connected,
    lambda: socket.socket(socket.AF_INET, socket.SOCK_DGRAM),
    lambda: socket.socket(socket.AF_UNIX, socket.SOCK_STREAM),
    lambda: socket.socketpair()[0],
    lambda: open("/dev/null", "rb"),
    lambda: open("/dev/zero", "rb"),
    lambda: open("/etc/passwd", "rb"),
    lambda: os.fdopen(os.pipe()[0], "rb"),
    lambda: os.fdopen(os.memfd_create("mine"), "rb"),
    select.epoll,
]


def descriptors():
    count = chance.choice([0, 1, 1, 1, 2, 2, 3, 4, 5, MOST])
    some = [chance.choice(KINDS)() for _ in range(min(count, 5))]
    return some, (some * MOST)[:count]


def session(datagrams):
    answers = 0
    with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as client:
        client.connect(path)
        client.settimeout(IMPATIENCE)
        for datagram in datagrams:
            some, sent = descriptors()
            try:
                socket.send_fds(client, [datagram], [fd.fileno() for fd in sent])
                if chance.random() < 0.7 and client.recv(65536):
                    answers += 1
            except (BrokenPipeError, ConnectionResetError, TimeoutError):
                break
            finally:
                for fd in some:
                    fd.close()
    return answers


def main():
    datagrams = [bytes.fromhex(line) for line in sys.stdin]
    sent = answers = 0
    while sent < len(datagrams):
        count = chance.randint(1, 4)
        answers += session(datagrams[sent : sent + count])
        sent += count
    print(len(datagrams), answers)


main()
