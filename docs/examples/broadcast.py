"""Broadcast with and without one's own copy: a subscriber gets what it publishes, and can tell.

Beside `make run`, from the top of the repository, with TOKEN as README.md in this folder says:

    .venv/bin/python -m pip install -q --disable-pip-version-check centrifuge-python
    .venv/bin/python docs/examples/broadcast.py

Every publication says by `info.client` which connection it is of, and a connection learns its own
name when it connects. Compare that and not the user, who may be here on two devices. Whoever
publishes without being subscribed gets no copy either.
"""

from __future__ import annotations

import asyncio
import os
import ssl

from centrifuge import (
    Client,
    ClientEventHandler,
    ConnectedContext,
    PublicationContext,
    SubscriptionEventHandler,
)

HOST = os.environ.get("DRAWBRIDGE", "localhost:8443")
CHANNEL = "room:broadcast"


class Member(ClientEventHandler):  # type: ignore[misc]  # the SDK has no annotations
    """One connection: who it is, and what it has heard."""

    def __init__(self, *, own_copy: bool) -> None:
        self.own_copy = own_copy
        self.me = ""
        self.heard: asyncio.Queue[str] = asyncio.Queue()

    async def on_connected(self, ctx: ConnectedContext) -> None:
        """Learn one's own name."""
        self.me = ctx.client


class Ears(SubscriptionEventHandler):  # type: ignore[misc]
    """What a member hears of the channel."""

    def __init__(self, member: Member) -> None:
        self.member = member

    async def on_publication(self, ctx: PublicationContext) -> None:
        """Note it, unless it is one's own and not wanted."""
        own = ctx.pub.info is not None and ctx.pub.info.client == self.member.me
        if self.member.own_copy or not own:
            await self.member.heard.put(f"{ctx.pub.data}{' (my own)' if own else ''}")


async def join(member: Member) -> Client:
    """Connect and subscribe."""
    client = Client(
        f"wss://{HOST}/connection/websocket",
        member,
        token=os.environ["TOKEN"],
        ssl_context=ssl.create_default_context(cafile=".local/ca.pem"),
    )
    await client.connect()
    subscription = client.new_subscription(CHANNEL, events=Ears(member))
    await subscription.subscribe()
    await subscription.ready()
    return client


async def main() -> None:
    """Let two members say one sentence each, and print what each of them hears."""
    keeps, drops = Member(own_copy=True), Member(own_copy=False)
    keeper, dropper = await join(keeps), await join(drops)
    await keeper.publish(CHANNEL, "I keep my own")
    await dropper.publish(CHANNEL, "I drop my own")
    print("the first hears:", await keeps.heard.get())
    print("the first hears:", await keeps.heard.get())
    print("the second hears:", await drops.heard.get())
    await keeper.disconnect()
    await dropper.disconnect()


if __name__ == "__main__":
    asyncio.run(main())
