"""Socket activation as service managers do it: `ADDRESS PORT OPTIONS COMMAND...`.

Listens, and at every SIGUSR1 runs the command with the listener as descriptor 3 until it ends. OPTIONS, separated by
commas: `declared` (LISTEN_FDS and LISTEN_PID say so to the command), `group` (SO_REUSEPORT).
"""

import os
import signal
import socket
import sys

address, port, options, command = sys.argv[1], int(sys.argv[2]), sys.argv[3].split(","), sys.argv[4:]
family, where = socket.getaddrinfo(address, port, type=socket.SOCK_STREAM)[0][::4]
listener = socket.socket(family, socket.SOCK_STREAM)
listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
if "group" in options:
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
listener.bind(where)
listener.listen(37)
signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGUSR1})
print("listens", flush=True)
while True:
    signal.sigwait({signal.SIGUSR1})
    child = os.fork()
    if child == 0:
        signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGUSR1})
        if listener.fileno() != 3:
            os.dup2(listener.fileno(), 3)
        os.set_inheritable(3, True)
        if "declared" in options:
            os.environ.update(LISTEN_FDS="1", LISTEN_PID=str(os.getpid()))
        os.execvp(command[0], command)
    print("ended", os.waitpid(child, 0)[1], flush=True)
