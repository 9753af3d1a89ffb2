"""The counterpart of the conformance programs: `peer.py FIRST_PORT`, a service on each port from there on."""

import socket
import struct
import sys
import threading
import time
import zlib


def echo(connection):
    while data := connection.recv(65536):
        connection.sendall(data)


def digest(connection):
    data = b"".join(iter(lambda: connection.recv(65536), b""))
    connection.sendall(b"%d bytes %08x\n" % (len(data), zlib.crc32(data)))


def greet(connection):
    connection.sendall(b"welcome\n")
    digest(connection)


def reset(connection):
    connection.recv(1, socket.MSG_PEEK)
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))


def slow(connection):
    time.sleep(0.3)
    digest(connection)


def hang_up(connection):
    """Ends its own side after the first bytes, and reads on."""
    first = connection.recv(65536)
    connection.shutdown(socket.SHUT_WR)
    while first:
        first = connection.recv(65536)


def handle(service, connection):
    with connection:
        try:
            service(connection)
        except OSError:
            pass


def serve(service, port):
    # Small enough to be full before the client has written all that it wants to.
    listener = socket.socket(socket.AF_INET6)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    if service is slow:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    listener.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)
    listener.bind(("::", port))
    listener.listen(128)
    while True:
        connection, _ = listener.accept()
        threading.Thread(target=handle, args=(service, connection), daemon=True).start()


services = (echo, digest, greet, reset, slow, hang_up)
first = int(sys.argv[1])
threads = [threading.Thread(target=serve, args=(service, first + i)) for i, service in enumerate(services)]
for thread in threads:
    thread.start()
