"""What an activator runs: `HOW COUNT`, the listener is descriptor 3. Echoes COUNT connections and ends.

HOW it waits for them: accept, poll, select, epoll, asyncio, listen (and accept), or `not`: it leaves the listener alone.
"""

import asyncio
import errno
import select
import socket
import struct
import sys
import time

how, count = sys.argv[1], int(sys.argv[2])
if how == "not":
    print("serves", flush=True)
    time.sleep(0.5)
    sys.exit()
listener = socket.socket(fileno=3)


def backlog():
    info = listener.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, 32)
    return struct.unpack("8B6I", info)[13]


def wait():
    if how == "poll":
        poll = select.poll()
        poll.register(listener, select.POLLIN)
        poll.poll()
    elif how == "select":
        select.select([listener], [], [])
    elif how == "epoll":
        with select.epoll() as epoll:
            epoll.register(listener, select.EPOLLIN | select.EPOLLET)
            epoll.poll()


async def serve():
    done = asyncio.Semaphore(0)

    async def echo(reader, writer):
        writer.write(await reader.read(4096))
        await writer.drain()
        writer.close()
        done.release()

    async with await asyncio.start_server(echo, sock=listener):
        print("serves", flush=True)
        for _ in range(count):
            await done.acquire()


if how == "asyncio":
    asyncio.run(serve())
    sys.exit()
if how == "listen":
    listener.listen(11)
print("serves", flush=True)
try:
    for _ in range(count):
        wait()
        connection, _ = listener.accept()
        with connection:
            connection.sendall(connection.recv(4096))
    print("backlog", backlog(), flush=True)
except OSError as error:
    print("accept", errno.errorcode[error.errno], flush=True)
