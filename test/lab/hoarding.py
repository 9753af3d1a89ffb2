"""A client of the control process that hands over connected sockets which linger, and closes its own copies: `SOCKET USER`, and a
connect message on standard input, as hex.

Nobody reads what they have sent, so that their last close, the control process's, takes as long as they linger. Prints, as
JSON, how many were refused, how many were not answered, how many turned away, and how many were closed by the control
process before us; says so. On SIGUSR1 it goes on, with connections that bring many descriptors at once, until these are
hung up, says so, and waits to be ended.
"""

import array
import faulthandler
import json
import os
import resource
import select
import signal
import socket
import sys
import time

import lingerers

path, user = sys.argv[1:]
message = bytes.fromhex(sys.stdin.readline())

SOCKETS = 1200
# Seconds.
LINGER, PATIENCE, SOON = 300, 20, 0.01
# Until somebody is not answered, which may be late.
LATE = 1
CROWDS, DATAGRAMS, COPIES = 5, 10, 200

faulthandler.dump_traceback_later(200, exit=True)
signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGUSR1])
# As many may be on their way.
limit = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
resource.setrlimit(resource.RLIMIT_NOFILE, (limit, limit))
os.setresuid(int(user), int(user), int(user))
reader = lingerers.reader(backlog=2 * SOCKETS, buffer=2048)
outcomes = {"refused": 0, "silent": 0, "away": 0, "ours": 0}
clients = []


def is_heard(client, seconds):
    # Not select, whose descriptors are below 1024.
    some = select.poll()
    some.register(client, select.POLLIN)
    return bool(some.poll(1000 * seconds))


def conclude(client):
    try:
        answer = client.recv(65536)
    except ConnectionResetError:
        answer = b""
    outcomes["refused" if answer else "away"] += 1
    client.close()


for _ in range(SOCKETS):
    client = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    client.connect(path)
    some = lingerers.lingering(reader, LINGER)
    try:
        client.sendmsg([message], [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", [some.fileno()]))])
    except (BrokenPipeError, ConnectionResetError):
        outcomes["away"] += 1
        lingerers.reset(some)
        continue
    if not lingerers.closed_first(some):
        outcomes["ours"] += 1
    if is_heard(client, SOON if clients else LATE):
        conclude(client)
    else:
        clients.append(client)
while late := [client for client in clients if is_heard(client, 0)]:
    for client in late:
        clients.remove(client)
        conclude(client)
    time.sleep(LATE)
outcomes["silent"] = len(clients)
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
