"""Rooms: to join is to subscribe to a channel, to leave is to unsubscribe.

Beside `make run`, from the top of the repository, with TOKEN as README.md in this folder says:

    .venv/bin/python docs/examples/rooms.py

Type `join garden`, `say garden hello`, `leave garden`, and do the same in another terminal, as
another user. What is said is heard by all who are in the room then. Ctrl-D ends it.
"""

from __future__ import annotations

import asyncio
import json
import os
import ssl
import sys
from collections.abc import AsyncIterator

from websockets.asyncio.client import ClientConnection, connect

HOST = os.environ.get("DRAWBRIDGE", "localhost:8443")
COMMANDS = {"join": "subscribe", "leave": "unsubscribe", "say": "publish"}


async def typed() -> AsyncIterator[str]:
    """Yield the lines of standard input, a terminal or a pipe, without blocking the loop."""
    reader = asyncio.StreamReader()
    protocol = asyncio.StreamReaderProtocol(reader)
    await asyncio.get_running_loop().connect_read_pipe(lambda: protocol, sys.stdin)
    async for line in reader:
        yield line.decode().rstrip("\n")


async def send_typed(socket: ClientConnection) -> None:
    """Make a command of each line; it has no id, so that only its failure is answered."""
    async for line in typed():
        verb, _, rest = line.partition(" ")
        room, _, text = rest.partition(" ")
        if verb not in COMMANDS or not room:
            print("join ROOM, say ROOM TEXT or leave ROOM", flush=True)
            continue
        request = {"channel": f"room:{room}"} | ({"data": text} if verb == "say" else {})
        await socket.send(json.dumps({COMMANDS[verb]: request}))
    await socket.close()


def show(message: dict[str, dict[str, object]]) -> None:
    """Print what somebody said, or what went wrong."""
    match message:
        case {"push": {"channel": str(channel), "pub": {"data": data, "info": dict(info)}}}:
            name = (info.get("conn_info") or {}).get("name", info["user"])
            print(f"[{channel.removeprefix('room:')}] {name}: {data}", flush=True)
        case {"push": {"channel": str(channel), "pub": {"data": data}}}:  # a backend's
            print(f"[{channel.removeprefix('room:')}] the server: {data}", flush=True)
        case {"error": error}:
            print(f"that failed: {error['message']} ({error['code']})", flush=True)
        case _:  # a push of another kind
            pass


async def main() -> None:
    """Be in as many rooms as one likes, over one connection."""
    context = ssl.create_default_context(cafile=".local/ca.pem")
    bearer = {"Authorization": "Bearer " + os.environ["TOKEN"]}
    url = f"wss://{HOST}/connection/websocket"
    async with connect(url, ssl=context, additional_headers=bearer) as socket:
        sending = asyncio.create_task(send_typed(socket))
        async for lines in socket:
            for line in lines.splitlines():  # a message is one or more JSON objects
                show(json.loads(line))
        sending.cancel()
        print(f"closed: {socket.close_code} {socket.close_reason}")


if __name__ == "__main__":
    asyncio.run(main())
