"""Ways around the guard, and around the delay, that a program may take: `SCENARIO ADDRESS PORT`."""

import ctypes
import os
import select
import signal
import socket
import sys
import threading
import time

scenario, address, port = sys.argv[1], sys.argv[2], int(sys.argv[3])


def bound():
    fd = socket.socket()
    fd.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    fd.bind((address, port))
    return fd


def serve(listener):
    print("serving", flush=True)
    while True:
        connection, _ = listener.accept()
        connection.sendall(b"served")
        connection.close()


def reopened():
    """shutdown() takes the socket out of its reuseport group, and the group's program with it."""
    listener = bound()
    listener.listen()
    listener.shutdown(socket.SHUT_RDWR)
    listener.listen()
    serve(listener)


def over_exec(number=None):
    listener = bound()
    listener.listen()
    os.set_inheritable(listener.fileno(), True)
    number = listener.fileno() if number is None else os.dup2(listener.fileno(), number)
    os.execv(sys.executable, [sys.executable, __file__, "inherited", str(number), "0"])


def inherited():
    serve(socket.socket(fileno=int(address)))


def ungrouped():
    """The program after exec() wants no SO_REUSEPORT, before it accepts anything."""
    listener = bound()
    listener.listen()
    os.set_inheritable(listener.fileno(), True)
    os.execv(sys.executable, [sys.executable, __file__, "inherited-ungrouped", str(listener.fileno()), "0"])


def inherited_ungrouped():
    listener = socket.socket(fileno=int(address))
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 0)
    print("serving", flush=True)
    signal.pause()


def forked():
    """Both listen on one socket; the child, which listens second, accepts."""
    listener = bound()
    ready, go = os.pipe()
    child = os.fork()
    if child == 0:
        os.read(ready, 1)
        listener.listen()
        serve(listener)
    signal.signal(signal.SIGTERM, lambda *_: os.kill(child, signal.SIGKILL))
    listener.listen()
    os.write(go, b"x")
    os.wait()


def copied():
    """A copy from before listen() accepts."""
    listener = bound()
    copy = listener.dup()
    listener.listen()
    serve(copy)


def passed():
    """What came back in a message accepts."""
    listener = bound()
    listener.listen()
    out, back = socket.socketpair()
    socket.send_fds(out, [b"x"], [listener.fileno()])
    _, [received], _, _ = socket.recv_fds(back, 1, 1)
    serve(socket.socket(fileno=received))


def cloned():
    """A child that no handler of fork() was called for accepts on a copy of its own."""
    listener = bound()
    listener.listen()
    clone = ctypes.CDLL(None)._Fork
    signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGTERM])
    child = clone()
    if child == 0:
        signal.pthread_sigmask(signal.SIG_UNBLOCK, [signal.SIGTERM])
        serve(listener.dup())
    signal.sigwait([signal.SIGTERM])
    os.kill(child, signal.SIGKILL)
    os.wait()


def forked_before():
    """A child from before listen() accepts."""
    listener = bound()
    ready, go = os.pipe()
    child = os.fork()
    if child == 0:
        os.read(ready, 1)
        serve(listener)
    signal.signal(signal.SIGTERM, lambda *_: os.kill(child, signal.SIGKILL))
    listener.listen()
    os.write(go, b"x")
    os.wait()


def reading_thread(wait):
    """One thread waits for the answer before another one has written the request."""
    fd = socket.create_connection((address, port))
    answer = []

    def read():
        wait(fd)
        answer.append(fd.recv(12))

    reader = threading.Thread(target=read)
    reader.start()
    time.sleep(0.3)
    fd.sendall(b"GET / HTTP/1.0\r\nHost: lab\r\n\r\n")
    reader.join()
    print(answer[0].decode())


def wait_by_poll(fd):
    waiting = select.poll()
    waiting.register(fd, select.POLLIN)
    events = waiting.poll(5000)
    assert events == [(fd.fileno(), select.POLLIN)], events


def wait_by_select(fd):
    assert select.select([fd], [], [], 5) == ([fd], [], [])


SCENARIOS = {
    "reopened": reopened,
    "exec": over_exec,
    "exec-100": lambda: over_exec(100),
    "exec-1000": lambda: over_exec(1000),
    "inherited": inherited,
    "forked": forked,
    "forked-before": forked_before,
    "cloned": cloned,
    "ungrouped": ungrouped,
    "inherited-ungrouped": inherited_ungrouped,
    "copied": copied,
    "passed": passed,
    "read-recv": lambda: reading_thread(lambda fd: None),
    "read-poll": lambda: reading_thread(wait_by_poll),
    "read-select": lambda: reading_thread(wait_by_select),
}
SCENARIOS[scenario]()
