"""A client of the control process that hands over connected sockets which linger, and closes its own copies: `SOCKET USER`, and a
connect message on standard input, as hex.

Nobody reads what they have sent, so that their last close, the control process's, takes as long as they linger. Prints, as
JSON, how many were refused, how many were not answered, and how many turned away; says so. On SIGUSR1 it goes on,
with connections that bring many descriptors at once, until these are hung up, says so, and waits to be ended.
"""

import array
import json
import os
import resource
import select
import signal
import socket
import struct
import sys

path, user = sys.argv[1:]
message = bytes.fromhex(sys.stdin.readline())

SOCKETS = 1200
# Seconds.
LINGER, PATIENCE, SOON = 300, 20, 0.01
CROWDS, DATAGRAMS, COPIES = 5, 10, 200

signal.alarm(200)
signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGUSR1])
# As many may be on their way.
limit = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
resource.setrlimit(resource.RLIMIT_NOFILE, (limit, limit))
os.setresuid(int(user), int(user), int(user))
reader = socket.socket()
reader.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 2048)
reader.bind(("127.0.0.1", 0))
reader.listen(2 * SOCKETS)


def lingering():
    some = socket.socket()
    some.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 2048)
    some.connect(reader.getsockname())
    some.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, LINGER))
    some.setblocking(False)
    try:
        while True:
            some.send(bytes(65536))
    except BlockingIOError:
        return some


outcomes = {"refused": 0, "silent": 0, "away": 0}
clients = []
for _ in range(SOCKETS):
    client = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    client.connect(path)
    with lingering() as some:
        try:
            client.sendmsg([message], [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", [some.fileno()]))])
        except (BrokenPipeError, ConnectionResetError):
            outcomes["away"] += 1
            some.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 0, 0))
            continue
    first = not outcomes["silent"]
    if not select.select([client], [], [], PATIENCE if first and outcomes["refused"] < 400 else SOON)[0]:
        outcomes["silent"] += 1
        clients.append(client)
        continue
    try:
        answer = client.recv(65536)
    except ConnectionResetError:
        answer = b""
    outcomes["refused" if answer else "away"] += 1
    client.close()
print(json.dumps(outcomes), flush=True)
print("done", flush=True)
signal.sigwait([signal.SIGUSR1])
nothing = os.open("/dev/null", os.O_RDONLY)
crowd = [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", COPIES * [nothing]))]
for _ in range(CROWDS):
    with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as client:
        client.connect(path)
        client.settimeout(PATIENCE)
        try:
            for _ in range(DATAGRAMS):
                client.sendmsg([message], crowd)
            client.recv(65536)
        except (BrokenPipeError, ConnectionResetError):
            pass
print("flooded", flush=True)
signal.pause()
