"""The same from Python, through asyncio and selectors: `loops.py CASE FIRST_PORT`."""

import asyncio
import errno
import selectors
import socket
import sys
import time

SERVER, NOBODY = "192.0.2.2", "192.0.2.66"
ECHO, DIGEST, GREET, RESET, SLOW, HANGUP, CLOSED = 0, 1, 2, 3, 4, 5, 9
REQUEST = b"a request that is longer than what the token protects\n"
FIRST = int(sys.argv[2])
cases = {}


def CASE(_text):
    def register(function):
        cases[function.__name__] = function
        return function

    return register


SERVER_FIRST = CASE


def say(what, call, *arguments):
    """Prints what a call returns or raises."""
    try:
        result = call(*arguments)
    except OSError as error:
        result = type(error).__name__ + " " + errno.errorcode.get(error.errno, "without a number")
    print(f"{what}: {result}")
    return result


async def say_async(what, awaitable):
    try:
        result = await asyncio.wait_for(awaitable, 3)
    except (OSError, asyncio.TimeoutError, asyncio.IncompleteReadError) as error:
        result = type(error).__name__ + " " + errno.errorcode.get(getattr(error, "errno", None), "")
    print(f"{what}: {result if isinstance(result, (str, bytes, int)) else 'done'}")
    return result


def streams(service, address=SERVER):
    return asyncio.open_connection(address, FIRST + service)


@CASE("asyncio streams: write, drain, read")
async def streamed():
    reader, writer = await streams(ECHO)
    print(writer.get_extra_info("peername")[0], writer.get_extra_info("peername")[1] - FIRST)
    writer.write(REQUEST)
    await writer.drain()
    await say_async("read", reader.readexactly(len(REQUEST)))
    writer.close()
    await say_async("closed", writer.wait_closed())


@CASE("asyncio streams: many small writes, then write_eof")
async def streamed_in_pieces():
    reader, writer = await streams(DIGEST)
    for byte in REQUEST * 20:
        writer.write(bytes([byte]))
    writer.write_eof()
    await say_async("read", reader.read())


@CASE("asyncio streams: refused")
async def streamed_refused():
    async def attempt():
        reader, writer = await streams(CLOSED)
        writer.write(REQUEST)
        await writer.drain()
        await reader.readexactly(1)

    await say_async("connect, or else write", attempt())


@CASE("asyncio streams: nobody answers, a timeout of our own")
async def streamed_timeout():
    async def attempt():
        reader, writer = await streams(ECHO, NOBODY)
        writer.write(REQUEST)
        await reader.readexactly(1)

    try:
        await asyncio.wait_for(attempt(), 0.2)
        print("no timeout")
    except asyncio.TimeoutError:
        print("timeout")
    reader, writer = await streams(ECHO)
    writer.write(REQUEST)
    await say_async("another", reader.readexactly(len(REQUEST)))


@CASE("asyncio: a reader task waits while another writes")
async def streamed_both_ways():
    reader, writer = await streams(ECHO)
    reading = asyncio.ensure_future(reader.readexactly(2 * len(REQUEST)))
    await asyncio.sleep(0.05)
    writer.write(REQUEST[:5])
    await asyncio.sleep(0.05)
    writer.write(REQUEST[5:] + REQUEST)
    await say_async("read", reading)


@CASE("asyncio: sock_connect, sock_sendall, sock_recv")
async def by_socket():
    loop = asyncio.get_running_loop()
    with socket.socket() as connection:
        connection.setblocking(False)
        await say_async("connect", loop.sock_connect(connection, (SERVER, FIRST + ECHO)))
        await say_async("send", loop.sock_sendall(connection, REQUEST))
        await say_async("read", loop.sock_recv(connection, 1000))


@CASE("asyncio: 30 connections at once")
async def at_once():
    async def one(number):
        reader, writer = await streams(ECHO)
        data = REQUEST + b"%d\n" % number
        writer.write(data)
        return await reader.readexactly(len(data)) == data

    print("intact:", sum(await asyncio.gather(*map(one, range(30)))))


@CASE("asyncio: reset by the peer")
async def streamed_reset():
    reader, writer = await streams(RESET)
    writer.write(REQUEST)
    await say_async("read", reader.read())


@CASE("asyncio: the peer ends its side first")
async def streamed_end():
    reader, writer = await streams(HANGUP)
    writer.write(REQUEST)
    await say_async("read", reader.read())
    writer.write(REQUEST)
    await say_async("drain", writer.drain())


@CASE("asyncio: loop.sendfile")
async def sent_as_file():
    loop = asyncio.get_running_loop()
    reader, writer = await streams(DIGEST)
    with open(__file__, "rb") as file:
        await say_async("sendfile", loop.sendfile(writer.transport, file, 0, 100))
    writer.write_eof()
    answer = await asyncio.wait_for(reader.read(), 5)
    print(answer.split()[:2])


@SERVER_FIRST("asyncio: the server speaks first")
async def greeted():
    reader, writer = await streams(GREET)
    await say_async("read", reader.readline())
    writer.write(REQUEST)
    writer.write_eof()
    await say_async("read", reader.read())


def with_selector(selector):
    for service in (ECHO, CLOSED):
        with socket.socket() as connection, selector() as waiting:
            connection.setblocking(False)
            error = connection.connect_ex((SERVER, FIRST + service))
            started = error in (0, errno.EINPROGRESS)
            print("started:", started)
            waiting.register(connection, selectors.EVENT_WRITE)
            print("writable:", [events for _, events in waiting.select(3)])
            failed = connection.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
            data = REQUEST
            while data and not failed:
                try:
                    data = data[connection.send(data) :]
                except BlockingIOError:
                    waiting.select(3)
                except OSError as problem:
                    failed = problem.errno
            print("failed:", errno.errorcode.get(failed, "no"))
            if not failed:
                waiting.modify(connection, selectors.EVENT_READ)
                print("readable:", [events for _, events in waiting.select(3)])
                print(connection.recv(1000))


@CASE("selectors: select, accepted and refused")
def selected():
    with_selector(selectors.SelectSelector)


@CASE("selectors: poll, accepted and refused")
def polled():
    with_selector(selectors.PollSelector)


@CASE("selectors: epoll, accepted and refused")
def epolled():
    with_selector(selectors.EpollSelector)


@CASE("a socket with a timeout: connect, send, recv, and a recv that times out")
def with_timeout():
    with socket.socket() as connection:
        connection.settimeout(2)
        say("connect", connection.connect, (SERVER, FIRST + ECHO))
        say("send", connection.sendall, REQUEST)
        say("recv", connection.recv, 1000)
        connection.settimeout(0.1)
        say("recv", connection.recv, 1000)


@CASE("a timeout before anything was written")
def timeout_first():
    with socket.socket() as connection:
        connection.settimeout(0.1)
        say("connect", connection.connect, (SERVER, FIRST + ECHO))
        start = time.monotonic()
        say("recv", connection.recv, 1000)
        print("too short" if time.monotonic() - start < 0.09 else "as told")
        connection.settimeout(2)
        say("send", connection.sendall, REQUEST)
        say("recv", connection.recv, 1000)


@CASE("makefile: buffered writes, flush, readline")
def as_file():
    with socket.create_connection((SERVER, FIRST + ECHO), 3) as connection, connection.makefile("rwb") as file:
        file.write(REQUEST)
        file.flush()
        print(file.readline())


@CASE("create_connection and socket.sendfile")
def sent_file():
    with socket.create_connection((SERVER, FIRST + DIGEST), 5) as connection, open(__file__, "rb") as file:
        say("sendfile", connection.sendfile, file, 0, 100)
        say("shutdown", connection.shutdown, socket.SHUT_WR)
        print(connection.recv(100).split()[:2])


case = cases[sys.argv[1]]
if asyncio.iscoroutinefunction(case):
    asyncio.run(case())
else:
    case()
