"""Many connections at once, and the server for them.

`serve ADDRESS PORT`: echoes.
`connect ADDRESS PORT COUNT BYTES`: COUNT connections at once, each of which sends BYTES bytes and wants them back. Prints
how often each outcome came, as JSON: `ok`, or the errno's name.
"""

import asyncio
import collections
import errno
import json
import resource
import socket
import sys

what, address, port, *rest = sys.argv[1:]
PATIENCE = 100
FAMILY = socket.AF_INET6 if ":" in address else socket.AF_INET


async def echo(reader, writer):
    try:
        while data := await reader.read(65536):
            writer.write(data)
            await writer.drain()
    except OSError:
        pass
    finally:
        writer.close()


async def serve():
    # asyncio would have :: for IPv6 alone.
    listener = socket.create_server((address, int(port)), family=FAMILY, backlog=4096, dualstack_ipv6=address == "::")
    listener.setblocking(False)
    server = await asyncio.start_server(echo, sock=listener, backlog=4096)
    print("serving", flush=True)
    await server.serve_forever()


async def once(payload):
    reader, writer = await asyncio.open_connection(address, int(port))
    try:
        writer.write(payload)
        return "ok" if await reader.readexactly(len(payload)) == payload else "other bytes"
    finally:
        writer.close()


async def outcome(payload):
    try:
        return await asyncio.wait_for(once(payload), PATIENCE)
    except asyncio.IncompleteReadError:
        return "end"
    except asyncio.TimeoutError:
        return "timeout"
    except OSError as error:
        return errno.errorcode.get(error.errno, str(error))


async def connect(count, length):
    payload = (b"what a client says first, " * (length // 26 + 1))[:length]
    print(json.dumps(collections.Counter(await asyncio.gather(*(outcome(payload) for _ in range(count))))))


_, most = resource.getrlimit(resource.RLIMIT_NOFILE)
resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
asyncio.run(serve() if what == "serve" else connect(*map(int, rest)))
