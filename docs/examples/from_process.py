"""Send from another process: a job without an event loop connects, publishes, reads the reply.

Beside `make run`, from the top of the repository, with TOKEN as README.md in this folder says:

    .venv/bin/python docs/examples/from_process.py room:garden "the cake is ready"

Whoever is in that room hears it (rooms.py: `join garden`). A command with an id is always
answered, so the exit status can say whether it was taken.
"""

from __future__ import annotations

import json
import os
import ssl
import sys

from websockets.sync.client import connect

HOST = os.environ.get("DRAWBRIDGE", "localhost:8443")


def publish(channel: str, text: str) -> str | None:
    """Publish once; returns what went wrong."""
    context = ssl.create_default_context(cafile=".local/ca.pem")
    bearer = {"Authorization": "Bearer " + os.environ["TOKEN"]}
    url = f"wss://{HOST}/connection/websocket"
    with connect(url, ssl=context, additional_headers=bearer) as socket:
        socket.send(json.dumps({"id": 1, "publish": {"channel": channel, "data": text}}))
        while (reply := json.loads(socket.recv(timeout=5))).get("id") != 1:
            pass  # a private message may come in between
    error = reply.get("error")
    return f"{error['message']} ({error['code']})" if error else None


if __name__ == "__main__":
    sys.exit(publish(*sys.argv[1:3]))
