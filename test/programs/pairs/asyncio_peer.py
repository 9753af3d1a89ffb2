"""asyncio at both ends: `serve ADDRESS PORT`, or `talk ADDRESS PORT COUNT` for COUNT connections at once.

Each connection sends the text of standard input in pieces while it reads its echo; `talk` prints the SHA-256 of
every echo, a line each.
"""

import asyncio
import hashlib
import sys


async def echo(reader, writer):
    while data := await reader.read(8192):
        writer.write(data)
        await writer.drain()
    writer.close()


async def serve(address, port):
    async with await asyncio.start_server(echo, address, port) as server:
        await server.serve_forever()


async def send(writer, text):
    for start in range(0, len(text), 5000):
        writer.write(text[start : start + 5000])
        await writer.drain()
    writer.write_eof()


async def converse(address, port, text):
    reader, writer = await asyncio.open_connection(address, port)
    _, echoed = await asyncio.gather(send(writer, text), reader.read())
    writer.close()
    return hashlib.sha256(echoed).hexdigest()


async def talk(address, port, count):
    text = sys.stdin.buffer.read()
    print(*await asyncio.gather(*(converse(address, port, text) for _ in range(count))), sep="\n")


what, address, port, *count = sys.argv[1:]
asyncio.run(serve(address, int(port)) if what == "serve" else talk(address, int(port), int(count[0])))
