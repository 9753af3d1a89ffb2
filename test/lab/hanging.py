"""A client of the control process whose rc files hang: `SOCKET DIRECTORY KIND USER`, one message on standard input, as hex.

Asks for as many connects at once as files it opens, `KIND0` and so on in the directory, says so, and prints each answer. Then
waits to be ended.
"""

import os
import select
import signal
import socket
import sys

path, directory, kind, user = sys.argv[1:]
message = bytes.fromhex(sys.stdin.readline())

FILES = 6
# Seconds.
PATIENCE = 20

signal.alarm(120)
files = [os.open(f"{directory}/{kind}{i}", os.O_RDONLY) for i in range(FILES)]
os.setresuid(int(user), int(user), int(user))
clients = []
for file in files:
    client = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    client.connect(path)
    with socket.socket() as some:
        socket.send_fds(client, [message], [some.fileno(), file])
    clients.append(client)
print("asked", flush=True)
for client in clients:
    if not select.select([client], [], [], PATIENCE)[0]:
        sys.exit("no answer")
    answer = client.recv(65536)
    print("late" if b"was not read within" in answer else f"action {answer[8]}", flush=True)
print("answered", flush=True)
signal.pause()
