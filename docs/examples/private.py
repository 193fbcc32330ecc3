"""A private message: publish into `dm:#ID`; nobody keeps it, so "not connected" is an answer.

Beside `make run`, from the top of the repository, with TOKEN as README.md in this folder says:

    .venv/bin/python -m pip install -q --disable-pip-version-check centrifuge-python
    .venv/bin/python docs/examples/private.py

That prints your id and waits for messages. In another terminal, with another user's TOKEN:

    .venv/bin/python docs/examples/private.py ID hello

Every connection of the receiver gets it. Without one the gateway answers with error 1404.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import ssl
import sys

import httpx2
from centrifuge import Client, ClientEventHandler, ServerPublicationContext
from centrifuge.exceptions import ReplyError

HOST = os.environ.get("DRAWBRIDGE", "localhost:8443")
TOKEN = os.environ["TOKEN"]
NOT_CONNECTED = 1404


class Inbox(ClientEventHandler):  # type: ignore[misc]  # the SDK has no annotations
    """What comes without having been asked for: the server subscribes every user to its own dm."""

    async def on_publication(self, ctx: ServerPublicationContext) -> None:
        """Print who says what."""
        print(f"{ctx.pub.info.conn_info['name']}: {ctx.pub.data}", flush=True)


async def main(receiver: str = "", *words: str) -> str | None:
    """Send, or wait for what others send; returns what went wrong."""
    context = ssl.create_default_context(cafile=".local/ca.pem")
    url = f"wss://{HOST}/connection/websocket"
    client = Client(url, Inbox(), token=TOKEN, ssl_context=context)
    await client.connect()
    await client.ready()
    try:
        if receiver:
            await client.publish(f"dm:#{receiver}", " ".join(words))
        else:
            print(f"I am {await own_id(context)}", flush=True)
            await asyncio.Event().wait()  # until Ctrl-C
    except ReplyError as error:
        return "not connected" if error.code == NOT_CONNECTED else str(error)
    finally:
        await client.disconnect()
    return None


async def own_id(context: ssl.SSLContext) -> str:
    """Ask the token service; what is inside of a token is not for clients to read."""
    async with httpx2.AsyncClient(verify=context) as http:
        bearer = {"Authorization": f"Bearer {TOKEN}"}
        answer = await http.get(f"https://{HOST}/users/me", headers=bearer)
    return str(answer.raise_for_status().json()["sub"])


if __name__ == "__main__":
    with contextlib.suppress(KeyboardInterrupt):
        sys.exit(asyncio.run(main(*sys.argv[1:])))
