"""The official Python SDK over Protobuf: fewer bytes, the same rooms and the same payloads.

Beside `make run`, from the top of the repository, with TOKEN as README.md in this folder says:

    .venv/bin/python docs/examples/protobuf.py

It publishes three times into a room that keeps history, and reads back what is kept. Clients that
speak JSON are in the same room: a payload is JSON text here, which Protobuf carries as bytes.
"""

from __future__ import annotations

import asyncio
import json
import os
import ssl

from centrifuge import Client

HOST = os.environ.get("DRAWBRIDGE", "localhost:8443")
ROOM = "room:protobuf"


async def main() -> None:
    """Publish, and read the history."""
    client = Client(
        f"wss://{HOST}/connection/websocket",
        token=os.environ["TOKEN"],
        use_protobuf=True,
        ssl_context=ssl.create_default_context(cafile=".local/ca.pem"),
    )
    room = client.new_subscription(ROOM)
    await client.connect()
    await room.subscribe()
    await room.ready()
    for number in range(3):
        await room.publish(json.dumps({"number": number}).encode())
    kept = await room.history(limit=3, reverse=True)
    for publication in reversed(kept.publications):
        print(publication.offset, json.loads(publication.data))
    await client.disconnect()


if __name__ == "__main__":
    asyncio.run(main())
