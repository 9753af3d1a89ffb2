"""A service manager for one service: `SOCKET COMMAND...`.

Listens on SOCKET for it, keeps the descriptors that it stores, and starts it again when it is killed, as systemd does
with a .socket unit, FileDescriptorStoreMax= and Restart=on-failure. Says on standard output what happens, a line each.
"""

import os
import select
import signal
import socket
import sys

FIRST = 3
path, command = sys.argv[1], sys.argv[2:]
listener = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
notices = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
for end, name in (listener, path), (notices, path + ".notify"):
    end.bind(name)
    os.chmod(name, 0o666)
listener.listen(128)
stored = []


def become():
    descriptors = [(listener.fileno(), "knockify.socket"), *stored]
    # First out of the way, so that none is overwritten before it is copied.
    high = [os.dup2(fd, 200 + index) for index, (fd, _) in enumerate(descriptors)]
    for index, fd in enumerate(high):
        os.dup2(fd, FIRST + index)
    os.closerange(FIRST + len(high), 300)
    os.environ.update(
        LISTEN_PID=str(os.getpid()),
        LISTEN_FDS=str(len(descriptors)),
        LISTEN_FDNAMES=":".join(name for _, name in descriptors),
        NOTIFY_SOCKET=path + ".notify",
    )
    os.execvp(command[0], command)


def start():
    child = os.fork()
    if child == 0:
        become()
    print("started", child, flush=True)
    return child


def is_broken(descriptor):
    """As systemd asks of what it stores, unless it is told not to."""
    poll = select.poll()
    poll.register(descriptor, 0)
    return bool(poll.poll(0))


def heed(state, descriptors):
    lines = dict(line.split("=", 1) for line in state.decode().splitlines())
    name = lines.get("FDNAME", "stored")
    if "FDSTORE" in lines:
        polled = lines.get("FDPOLL") != "0"
        stored.extend((fd, name) for fd in descriptors if not (polled and is_broken(fd)))
    if "FDSTOREREMOVE" in lines:
        stored[:] = [entry for entry in stored if entry[1] != name]
    print(state.decode().replace("\n", " "), len(descriptors), flush=True)


def end(*_):
    os.kill(service, signal.SIGTERM)


service = start()
signal.signal(signal.SIGTERM, end)
notices.settimeout(0.05)
while True:
    try:
        state, descriptors, _, _ = socket.recv_fds(notices, 4096, 16)
        heed(state, descriptors)
        continue
    except TimeoutError:
        pass
    pid, status = os.waitpid(service, os.WNOHANG)
    if pid and os.WIFSIGNALED(status) and os.WTERMSIG(status) == signal.SIGKILL:
        service = start()
    elif pid:
        sys.exit(os.waitstatus_to_exitcode(status))
