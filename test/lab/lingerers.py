"""Sockets whose last close takes as long as SO_LINGER says, for nobody reads what they have sent."""

import signal
import socket
import struct
import time

# Seconds.
SOON = 0.1

signal.signal(signal.SIGALRM, lambda *_: None)


def reader(backlog, buffer):
    """Reads nothing."""
    some = socket.socket()
    some.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, buffer)
    some.bind(("127.0.0.1", 0))
    some.listen(backlog)
    return some


def lingering(to, seconds):
    some = socket.socket()
    some.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, to.getsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF) // 2)
    some.connect(to.getsockname())
    some.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, seconds))
    some.setblocking(False)
    try:
        while True:
            some.send(bytes(65536))
    except BlockingIOError:
        return some


def reset(some):
    some.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    some.close()


def closed_first(some):
    """False where whoever it was handed to was faster, so that the close that lingers was ours: a signal ends it."""
    began = time.monotonic()
    signal.setitimer(signal.ITIMER_REAL, SOON, SOON)
    some.close()
    signal.setitimer(signal.ITIMER_REAL, 0)
    return time.monotonic() - began < SOON
