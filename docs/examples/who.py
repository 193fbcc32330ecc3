"""Who is in a room, and who comes and goes.

Beside `make run`, from the top of the repository, with TOKEN as README.md in this folder says:

    .venv/bin/python docs/examples/who.py garden

Start it in another terminal as another user, and end that one with Ctrl-C: the first one tells.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import ssl
import sys
from typing import Any

from websockets.asyncio.client import connect

HOST = os.environ.get("DRAWBRIDGE", "localhost:8443")


def name(info: dict[str, Any]) -> str:
    """Return what a user is called, or the user's id."""
    return str((info.get("conn_info") or {}).get("name", info["user"]))


def show(message: dict[str, Any]) -> None:
    """Print who is here, comes or goes, or what went wrong."""
    match message:
        case {"presence": {"presence": dict(clients)}}:
            print("here: " + ", ".join(sorted({name(info) for info in clients.values()})))
        case {"push": {"join": {"info": dict(info)}}}:
            print(f"{name(info)} came")
        case {"push": {"leave": {"info": dict(info)}}}:
            print(f"{name(info)} went")
        case {"error": error}:
            print(f"that failed: {error['message']} ({error['code']})")
        case _:  # a push of another kind
            pass


async def main(room: str) -> None:
    """Enter, ask who is there, and watch the door."""
    context = ssl.create_default_context(cafile=".local/ca.pem")
    bearer = {"Authorization": "Bearer " + os.environ["TOKEN"]}
    url = f"wss://{HOST}/connection/websocket"
    channel = f"room:{room}"
    async with connect(url, ssl=context, additional_headers=bearer) as socket:
        entering = {"channel": channel, "join_leave": True}
        await socket.send(json.dumps({"id": 1, "subscribe": entering}))
        await socket.send(json.dumps({"id": 2, "presence": {"channel": channel}}))
        async for lines in socket:
            for line in lines.splitlines():  # a message is one or more JSON objects
                show(json.loads(line))
            sys.stdout.flush()


if __name__ == "__main__":
    with contextlib.suppress(KeyboardInterrupt):
        asyncio.run(main(sys.argv[1]))
