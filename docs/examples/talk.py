"""A client for the endpoints of this folder: what you type is sent, what comes is printed.

    .venv/bin/python docs/examples/talk.py ws://127.0.0.1:8101/clock

TOKEN in the environment goes along as the bearer. A line `0x…` is sent as those bytes. Ctrl-D or
the server ends it, and how the connection was closed is the last line.
"""

from __future__ import annotations

import asyncio
import os
import sys
from collections.abc import AsyncIterator

from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed


async def typed() -> AsyncIterator[str]:
    """Yield the lines of standard input, a terminal or a pipe, without blocking the loop."""
    reader = asyncio.StreamReader()
    protocol = asyncio.StreamReaderProtocol(reader)
    await asyncio.get_running_loop().connect_read_pipe(lambda: protocol, sys.stdin)
    async for line in reader:
        yield line.decode().rstrip("\n")


async def send_typed(socket: ClientConnection) -> None:
    """Send line by line, then say goodbye."""
    async for line in typed():
        await socket.send(read(line))
    await socket.close()


def read(line: str) -> str | bytes:
    """Return what a line means."""
    try:
        return bytes.fromhex(line[2:]) if line.startswith("0x") else line
    except ValueError:
        return line


async def main(url: str) -> None:
    """Talk until either side has enough."""
    bearer = {"Authorization": "Bearer " + os.environ["TOKEN"]}
    async with connect(url, additional_headers=bearer) as socket:
        sending = asyncio.create_task(send_typed(socket))
        try:
            while True:
                print(await socket.recv(), flush=True)
        except ConnectionClosed:
            print(f"closed: {socket.close_code} {socket.close_reason}")
        finally:
            sending.cancel()


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1]))
