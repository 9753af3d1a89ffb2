"""A client of the control process that holds the locks of sockets that it hands over: `SOCKET FILE USER KIND`, and on standard
input what to send, as hex: a connect, a listen, and an accepted message.

The kernel locks a socket and reads IP options from memory that is the file's, which hangs. Prints what is answered, one line each,
and waits until the file's system is gone; then what became of the sockets, and waits to be ended. Kinds:

free       a listen and a connect, of sockets that nobody holds
connect    connects
prompt     the same, after one that was answered, so that the others are answered promptly
listen     listens
accepted   accepted sockets of a guarded listener
listener   listens of sockets that listen already
briefly    many connects, whose sockets it holds for 4 ms each, until they are refused: of a file that is slow
midway     a connect, of a socket that is held as soon as the control process has begun
"""

import ctypes
import os
import select
import signal
import socket
import sys
import threading
import time

path, file, user, kind = sys.argv[1:]
connect, listen, accepted = [bytes.fromhex(sys.stdin.readline()) for _ in range(3)]

ATTEMPTS, BRIEF_ATTEMPTS, TRIES = 6, 3000, 20
IP_OPTIONS, OPTIONS_SIZE = 4, 8
TCP_FASTOPEN_CONNECT, TCP_REPAIR = 30, 19
TCP_CLOSE = 7
PROCEED = 1
PROT_READ, MAP_PRIVATE, PAGE = 1, 2, 4096
# More than the kernel reads ahead.
APART = 64 * PAGE
# Seconds.
PATIENCE = 20

libc = ctypes.CDLL(None)
libc.mmap.restype = ctypes.c_void_p
libc.mmap.argtypes = [ctypes.c_void_p, ctypes.c_size_t] + [ctypes.c_int] * 3 + [ctypes.c_long]


holders = []


def hold(some, place=0):
    libc.setsockopt(some.fileno(), socket.IPPROTO_IP, IP_OPTIONS, ctypes.c_void_p(memory + place * APART), OPTIONS_SIZE)


def await_that(condition, what):
    deadline = time.monotonic() + PATIENCE
    while not condition():
        if time.monotonic() > deadline:
            sys.exit(what)
        time.sleep(0.001)


def is_stuck(thread):
    try:
        with open(f"/proc/self/task/{thread.native_id}/stat") as stat:
            return stat.read().rsplit(")", 1)[1].split()[0] == "D"
    except FileNotFoundError:
        return False


def lock(some):
    holder = threading.Thread(target=hold, args=(some,), daemon=True)
    holders.append(holder)
    holder.start()
    await_that(lambda: is_stuck(holder), "the lock is not held")


def ask(message, *sockets):
    client = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    client.connect(path)
    socket.send_fds(client, [message], [one.fileno() for one in sockets])
    return client


def heard(client):
    if not select.select([client], [], [], PATIENCE)[0]:
        sys.exit("no answer")
    answer = client.recv(65536)
    client.close()
    for text in ("holds the lock", "too many sockets", "too long of late"):
        if text.encode() in answer:
            return text
    return f"action {answer[8]}"


def bound():
    some = socket.socket()
    some.bind(("127.0.0.1", 0))
    return some


def attempt(some):
    if kind in ("listen", "listener"):
        if kind == "listener":
            some.listen()
        lock(some)
        return ask(listen, some)
    if kind == "accepted":
        lock(some)
        return ask(accepted, some, guarded)
    if kind == "midway":
        client = ask(connect, some)
        await_that(lambda: some.getsockopt(socket.IPPROTO_TCP, TCP_FASTOPEN_CONNECT), "it does not begin")
        lock(some)
        return client
    if kind != "free":
        lock(some)
    return ask(connect, some)


def answered():
    """A socket, and what was answered for it. Midway, the control process may be done before the lock is held."""
    for _ in range(TRIES if kind == "midway" else 1):
        some = bound() if kind in ("listen", "listener") else socket.socket()
        answer = heard(attempt(some))
        if answer != f"action {PROCEED}":
            break
    return some, answer


def refused_after():
    for place in range(BRIEF_ATTEMPTS):
        with socket.socket() as some:
            holder = threading.Thread(target=hold, args=(some, place))
            holder.start()
            client = ask(connect, some)
            holder.join()
            if heard(client) == "too long of late":
                return "too long of late"
    return "never refused"


def settled(some):
    state = some.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, 1)[0]
    options = [some.getsockopt(socket.IPPROTO_TCP, name) for name in (TCP_FASTOPEN_CONNECT, TCP_REPAIR)]
    return state == TCP_CLOSE and options == [0, 0]


signal.alarm(120)
memory = libc.mmap(None, BRIEF_ATTEMPTS * APART if kind == "briefly" else PAGE, PROT_READ, MAP_PRIVATE, os.open(file, os.O_RDONLY), 0)
os.setresuid(int(user), int(user), int(user))
guarded = bound()
if kind == "prompt":
    assert heard(ask(connect, socket.socket())) == f"action {PROCEED}"
if kind in ("accepted", "free"):
    assert heard(ask(listen, guarded)) == f"action {PROCEED}"
if kind == "briefly":
    print(refused_after(), flush=True)
    print("answered", flush=True)
    signal.pause()
sockets = []
for _ in range(1 if kind in ("free", "midway") else ATTEMPTS):
    some, answer = answered()
    sockets.append(some)
    print(answer, flush=True)
print("answered", flush=True)
for holder in holders:
    holder.join()
if kind == "midway":
    await_that(lambda: settled(sockets[0]), "it is not taken back")
    print(heard(ask(connect, sockets[0])), flush=True)
print("let go", flush=True)
signal.pause()
