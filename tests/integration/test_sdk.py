"""Two people and their devices, with the official SDK over TLS."""

from __future__ import annotations

import asyncio
import contextlib
from typing import Any

import pytest
from centrifuge import (
    Client,
    ClientEventHandler,
    PublicationContext,
    ServerPublicationContext,
    SubscriptionEventHandler,
)
from centrifuge.exceptions import ReplyError
from typing_extensions import override

from tests.integration.embedded import Embedded

pytestmark = pytest.mark.integration

MESSAGES = 1000


class Room(SubscriptionEventHandler):  # type: ignore[misc]
    """What one member of a room sees."""

    def __init__(self) -> None:
        self.seen: list[tuple[str, int]] = []
        self.names: set[str] = set()
        self.complete = asyncio.Event()

    @override
    async def on_publication(self, ctx: PublicationContext) -> None:
        """Note who said what."""
        assert ctx.pub.info is not None
        self.names.add(ctx.pub.info.conn_info["name"])
        self.seen.append((ctx.pub.info.user, ctx.pub.data["number"]))
        if len(self.seen) == 2 * MESSAGES:
            self.complete.set()


class Inbox(ClientEventHandler):  # type: ignore[misc]
    """What comes without having been asked for."""

    def __init__(self) -> None:
        self.publications: asyncio.Queue[ServerPublicationContext] = asyncio.Queue()

    @override
    async def on_publication(self, ctx: ServerPublicationContext) -> None:
        """Note it."""
        self.publications.put_nowait(ctx)


async def join(client: Client, channel: str) -> Room:
    """Subscribe, and wait until it is confirmed."""
    room = Room()
    subscription = client.new_subscription(channel, events=room)
    await subscription.subscribe()
    await subscription.ready()
    return room


async def talk(client: Client, channel: str) -> None:
    """Say all one has to say, each sentence after the last one's confirmation."""
    for number in range(MESSAGES):
        await client.publish(channel, {"number": number})


async def test_two_people_talk_and_every_message_arrives_in_order(server: Embedded) -> None:
    """A subscriber gets each sender's publications once and in the order of their replies."""
    alice_id, bob_id = server.subject("alice"), server.subject("bob")
    async with (
        server.sdk(token=server.token("alice")) as alice,
        server.sdk(token=server.token("bob")) as bob,
    ):
        rooms = [await join(alice, "room:talk"), await join(bob, "room:talk")]

        await asyncio.gather(talk(alice, "room:talk"), talk(bob, "room:talk"))
        async with asyncio.timeout(10):
            for room in rooms:
                await room.complete.wait()

    for room in rooms:
        for user in (alice_id, bob_id):
            assert [n for who, n in room.seen if who == user] == list(range(MESSAGES))
        assert room.names == {"alice", "bob"}
    assert rooms[0].seen == rooms[1].seen


async def test_the_sdk_fetches_its_token_by_get_token(server: Embedded) -> None:
    """A connect without a token is answered 109, which makes an SDK ask for one."""
    asked = 0

    async def get_token() -> str:
        nonlocal asked
        asked += 1
        return await asyncio.to_thread(server.token, "alice")

    async with server.sdk(get_token=get_token) as alice:
        answer = await alice.rpc("echo", {"text": "hello"})

    assert answer.data == {"text": "hello"}
    assert asked == 1


async def test_an_expired_token_makes_the_sdk_fetch_another(server: Embedded) -> None:
    """An expired token in connect is 109 and not the end."""

    async def get_token() -> str:
        return await asyncio.to_thread(server.token, "alice")

    async with server.sdk(token=server.sign(lifetime=-60), get_token=get_token) as alice:
        answer = await alice.rpc("time", None)

    assert answer.data.keys() == {"iso", "unix"}


async def test_a_private_message_reaches_all_devices_of_one_user_only(server: Embedded) -> None:
    """What is published to ``dm:#ID`` goes to each of that user's connections, and says who."""
    alice_id, bob_id = server.subject("alice"), server.subject("bob")
    inboxes = {name: Inbox() for name in ("alice", "phone", "laptop")}
    async with contextlib.AsyncExitStack() as stack:
        alice = await stack.enter_async_context(
            server.sdk(inboxes["alice"], token=server.token("alice"))
        )
        for device in ("phone", "laptop"):
            await stack.enter_async_context(server.sdk(inboxes[device], token=server.token("bob")))

        await alice.publish(f"dm:#{bob_id}", {"text": "psst"})
        async with asyncio.timeout(5):
            received = [await inboxes[device].publications.get() for device in ("phone", "laptop")]
        await alice.rpc("echo", None)  # what was sent to alice before has come by then

        assert [context.pub.data for context in received] == [{"text": "psst"}] * 2
        assert [context.channel for context in received] == [f"dm:#{bob_id}"] * 2
        info: Any = received[0].pub.info
        assert (info.user, info.conn_info) == (alice_id, {"name": "alice"})
        assert inboxes["alice"].publications.empty()


async def test_a_message_to_somebody_who_is_not_there_fails(server: Embedded) -> None:
    """Nobody keeps private messages, so the sender is told: 1404."""
    bob_id = server.subject("bob")

    async with server.sdk(token=server.token("alice")) as alice:
        with pytest.raises(ReplyError) as caught:
            await alice.publish(f"dm:#{bob_id}", {"text": "psst"})

    assert caught.value.code == 1404


@pytest.mark.parametrize(
    ("channel", "code"),
    [
        ("dm:#{alice},{bob}", 103),
        ("dm:{bob}", 103),
        ("dm:#", 103),
        ("staff:plans", 103),
        ("garden:east", 102),
        ("lobby2", 107),
    ],
)
async def test_publishing_where_it_is_not_allowed_fails(
    server: Embedded, channel: str, code: int
) -> None:
    """103 where it is forbidden, exactly one id in a private channel; 102 for no namespace."""
    name = channel.format(alice=server.subject("alice"), bob=server.subject("bob"))

    async with server.sdk(token=server.token("alice")) as alice:
        with pytest.raises(ReplyError) as caught:
            await alice.publish(name, {})

    assert caught.value.code == code
