"""Guests: listen without an account, where the channels file lets guests in.

Start the server with that file, from the top of the repository:

    GATEWAY_CHANNELS_FILE=docs/examples/guests.toml make run

Then, in another terminal, without any TOKEN:

    .venv/bin/python docs/examples/guests.py

It prints what users say in the lobby, and what happens when a guest speaks: type a line. Users
speak with `.venv/bin/python docs/examples/from_process.py lobby hello`. Ctrl-D ends it.
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
# A guest says so: ``connect`` without a token. The server takes several commands in one message.
HELLO = '{"id":1,"connect":{}}\n{"id":2,"subscribe":{"channel":"lobby"}}'
SUBSCRIBED = 2


async def typed() -> AsyncIterator[str]:
    """Yield the lines of standard input, a terminal or a pipe, without blocking the loop."""
    reader = asyncio.StreamReader()
    protocol = asyncio.StreamReaderProtocol(reader)
    await asyncio.get_running_loop().connect_read_pipe(lambda: protocol, sys.stdin)
    async for line in reader:
        yield line.decode().rstrip("\n")


async def speak(socket: ClientConnection) -> None:
    """Try to say each line in the lobby."""
    async for line in typed():
        await socket.send(json.dumps({"id": 3, "publish": {"channel": "lobby", "data": line}}))
    await socket.close()


async def main() -> None:
    """Listen to the lobby."""
    context = ssl.create_default_context(cafile=".local/ca.pem")
    async with connect(f"wss://{HOST}/connection/websocket", ssl=context) as socket:
        await socket.send(HELLO)
        speaking = asyncio.create_task(speak(socket))
        async for lines in socket:
            for line in lines.splitlines():
                match json.loads(line):
                    case {"push": {"pub": {"data": data, "info": info}}}:
                        print(f"{info['conn_info']['name']}: {data}", flush=True)
                    case {"error": error}:
                        print(f"that failed: {error['message']} ({error['code']})", flush=True)
                    case {"id": command} if command == SUBSCRIBED:
                        print("I am a guest in the lobby", flush=True)
                    case {} as reply if not reply:  # a ping: the pong is the same
                        await socket.send("{}")
        speaking.cancel()


if __name__ == "__main__":
    asyncio.run(main())
