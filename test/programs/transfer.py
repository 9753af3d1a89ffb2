"""Large amounts both ways over one connection: `serve ADDRESS PORT` or `fetch ADDRESS PORT BYTES`.

The client sends BYTES while the server sends as many of its own, at the same time. Each side prints the
SHA-256 of what it sent and of what it got as one JSON line.
"""

import hashlib
import json
import os
import socket
import sys
import threading


def resolve(address, port):
    return socket.getaddrinfo(address, port, type=socket.SOCK_STREAM)[0][::4]


def receive(connection, length):
    digest = hashlib.sha256()
    left = length
    while left:
        chunk = connection.recv(min(left, 1 << 16))
        if not chunk:
            raise SystemExit(f"the connection ended {left} bytes early")
        digest.update(chunk)
        left -= len(chunk)
    return digest.hexdigest()


def exchange(connection, data):
    sender = threading.Thread(target=connection.sendall, args=(data,))
    sender.start()
    got = receive(connection, len(data))
    sender.join()
    return {"sent": hashlib.sha256(data).hexdigest(), "got": got}


def serve(address, port):
    family, where = resolve(address, port)
    listener = socket.socket(family, socket.SOCK_STREAM)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    listener.bind(where)
    listener.listen()
    while True:
        connection, _ = listener.accept()
        with connection:
            length = int.from_bytes(connection.recv(8, socket.MSG_WAITALL), "big")
            print(json.dumps(exchange(connection, os.urandom(length))), flush=True)


def fetch(address, port, length):
    family, where = resolve(address, port)
    with socket.socket(family, socket.SOCK_STREAM) as connection:
        connection.connect(where)
        data = os.urandom(length)
        # The length and the beginning of the data in one call: in integrity mode they share the first segment.
        connection.sendall(length.to_bytes(8, "big") + data[:4096])
        rest = threading.Thread(target=connection.sendall, args=(data[4096:],))
        rest.start()
        got = receive(connection, length)
        rest.join()
        print(json.dumps({"sent": hashlib.sha256(data).hexdigest(), "got": got}))


if sys.argv[1] == "serve":
    serve(sys.argv[2], int(sys.argv[3]))
else:
    fetch(sys.argv[2], int(sys.argv[3]), int(sys.argv[4]))
