"""A server that tells what it sees: `ADDRESS PORT [BACKLOG]`, one JSON line for each connection that accept() returned.

Each line has the bytes of the first recv() as hex, or the errno's name; the connection gets them back.
"""

import errno
import json
import socket
import sys

family, where = socket.getaddrinfo(sys.argv[1], int(sys.argv[2]), type=socket.SOCK_STREAM)[0][::4]
listener = socket.socket(family, socket.SOCK_STREAM)
listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
listener.bind(where)
listener.listen(*map(int, sys.argv[3:]))


def tell(what):
    # In one piece: whoever has seen a part has seen all.
    print(json.dumps(what) + "\n", end="", flush=True)


while True:
    connection, _ = listener.accept()
    with connection:
        connection.settimeout(5)
        try:
            got = connection.recv(4096)
            # Before the client can know, and go on.
            tell({"got": got.hex()})
            connection.sendall(got)
        except OSError as error:
            tell({"error": errno.errorcode.get(error.errno, str(error))})
