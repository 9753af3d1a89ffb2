"""The many ways to write to a connection: `serve ADDRESS PORT` or `STYLE ADDRESS PORT`.

A client writes the same bytes in its own style, shuts down, and prints what the server says it got.
"""

import asyncio
import hashlib
import select
import selectors
import socket
import sys

DATA = bytes(range(256)) * 40


def resolve(address, port):
    return socket.getaddrinfo(address, port, type=socket.SOCK_STREAM)[0][::4]


def serve(address, port):
    family, where = resolve(address, port)
    with socket.create_server(where, family=family) as listener:
        while True:
            connection, _ = listener.accept()
            with connection:
                data = b"".join(iter(lambda: connection.recv(65536), b""))
                connection.sendall(hashlib.sha256(data).hexdigest().encode())


def one_send(connection):
    connection.sendall(DATA)


def tiny_sends(connection):
    connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    for byte in DATA[:300]:
        connection.sendall(bytes([byte]))
    connection.sendall(DATA[300:])


def file_writes(connection):
    with connection.makefile("wb", buffering=0) as file:
        for start in range(0, len(DATA), 7):
            file.write(DATA[start : start + 7])


def vectors(connection):
    connection.sendmsg([DATA[:5], DATA[5:11]])
    rest = DATA[11:]
    while rest:
        rest = rest[connection.sendmsg([rest[:3], rest[3:9], rest[9:]]) :]


def more_to_come(connection):
    connection.send(DATA[:10], socket.MSG_MORE)
    connection.send(DATA[10:20], socket.MSG_MORE)
    connection.sendall(DATA[20:])


def corked(connection):
    connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_CORK, 1)
    connection.sendall(DATA[:4])
    connection.sendall(DATA[4:])
    connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_CORK, 0)


def impatient(connection):
    """MSG_DONTWAIT on a blocking socket."""
    rest = DATA
    while rest:
        select.select([], [connection], [])
        try:
            rest = rest[connection.send(rest[:100], socket.MSG_DONTWAIT) :]
        except BlockingIOError:
            continue


def nonblocking(connection, wait):
    rest = DATA
    while rest:
        wait()
        try:
            rest = rest[connection.send(rest[:9]) :]
        except BlockingIOError:
            continue


def nonblocking_with(selector):
    def write(connection):
        connection.setblocking(False)
        with selector() as waiting:
            waiting.register(connection, selectors.EVENT_WRITE)
            nonblocking(connection, waiting.select)
        connection.setblocking(True)

    return write


STYLES = {
    "one-send": one_send,
    "tiny-sends": tiny_sends,
    "file-writes": file_writes,
    "vectors": vectors,
    "more-to-come": more_to_come,
    "corked": corked,
    "impatient": impatient,
    "select": nonblocking_with(selectors.SelectSelector),
    "poll": nonblocking_with(selectors.PollSelector),
    "epoll": nonblocking_with(selectors.EpollSelector),
}


def write_in(style, address, port):
    family, where = resolve(address, port)
    with socket.socket(family, socket.SOCK_STREAM) as connection:
        connection.settimeout(10)
        connection.setblocking(True)
        connection.connect(where)
        peer = connection.getpeername()[:2]
        assert peer == where[:2], peer
        STYLES[style](connection)
        connection.shutdown(socket.SHUT_WR)
        return connection.recv(64, socket.MSG_WAITALL).decode()


async def write_asyncio(address, port):
    reader, writer = await asyncio.open_connection(address, port)
    for start in range(0, len(DATA), 11):
        writer.write(DATA[start : start + 11])
        await writer.drain()
    writer.write_eof()
    got = await reader.read()
    writer.close()
    return got.decode()


def wait_for_answer(style, address, port):
    """Writes three bytes, then waits for an answer in the given way until the time is over."""
    family, where = resolve(address, port)
    with socket.socket(family, socket.SOCK_STREAM) as connection:
        connection.connect(where)
        connection.sendall(DATA[:3])
        if style == "recv":
            connection.recv(1)
        elif style == "select":
            select.select([connection], [], [], 4)
        elif style == "poll":
            waiting = select.poll()
            waiting.register(connection, select.POLLIN)
            waiting.poll(4000)
        else:
            waiting = select.epoll()
            waiting.register(connection, select.EPOLLIN)
            waiting.poll(4)


style, address, port = sys.argv[1], sys.argv[2], int(sys.argv[3])
if style == "serve":
    serve(address, port)
elif style.startswith("wait-"):
    wait_for_answer(style.removeprefix("wait-"), address, port)
else:
    got = asyncio.run(write_asyncio(address, port)) if style == "asyncio" else write_in(style, address, port)
    print("intact" if got == hashlib.sha256(DATA).hexdigest() else "damaged")
