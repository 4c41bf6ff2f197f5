"""A WebSocket server that sends back what comes. Prints its port, ends with its input."""

import asyncio
import logging
import sys

from websockets.asyncio.server import serve


async def echo(connection):
    async for message in connection:
        await connection.send(message)


async def main():
    options = {"compression": None, "max_size": 64 * 2**20, "ping_interval": None}
    async with serve(echo, "127.0.0.1", 0, **options) as server:
        print(server.sockets[0].getsockname()[1], flush=True)
        await asyncio.get_running_loop().run_in_executor(None, sys.stdin.read)


# the suite breaks the protocol on purpose, some hundred times
logging.getLogger("websockets").setLevel(logging.CRITICAL)
asyncio.run(main())
