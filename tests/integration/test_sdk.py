"""Two people and their devices, with the official SDK over TLS."""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import Callable
from typing import Any

import pytest
from centrifuge import (
    Client,
    ClientEventHandler,
    JoinContext,
    LeaveContext,
    PublicationContext,
    ServerPublicationContext,
    SubscribedContext,
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


class BinaryRoom(Room):
    """The same in Protobuf, where the SDK hands out bytes."""

    @override
    async def on_publication(self, ctx: PublicationContext) -> None:
        """Read them, and note who said what."""
        assert ctx.pub.info is not None
        ctx.pub.data = json.loads(ctx.pub.data)
        ctx.pub.info.conn_info = json.loads(ctx.pub.info.conn_info)
        await super().on_publication(ctx)


class Inbox(ClientEventHandler):  # type: ignore[misc]
    """What comes without having been asked for."""

    def __init__(self) -> None:
        self.publications: asyncio.Queue[ServerPublicationContext] = asyncio.Queue()

    @override
    async def on_publication(self, ctx: ServerPublicationContext) -> None:
        """Note it."""
        self.publications.put_nowait(ctx)


async def join(client: Client, channel: str, kind: type[Room] = Room) -> Room:
    """Subscribe, and wait until it is confirmed."""
    room = kind()
    subscription = client.new_subscription(channel, events=room)
    await subscription.subscribe()
    await subscription.ready()
    return room


async def talk(
    client: Client, channel: str, pack: Callable[[object], object] = lambda value: value
) -> None:
    """Say all one has to say, each sentence after the last one's confirmation."""
    for number in range(MESSAGES):
        await client.publish(channel, pack({"number": number}))


def to_bytes(value: object) -> bytes:
    """Write a payload for Protobuf."""
    return json.dumps(value, indent=1).encode()


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


async def test_two_people_talk_in_two_encodings(server: Embedded) -> None:
    """One room: the same publications in the same order, whoever wrote them and however."""
    async with (
        server.sdk(token=server.token("alice")) as alice,
        server.sdk(token=server.token("bob"), use_protobuf=True) as bob,
    ):
        rooms = [await join(alice, "room:mixed"), await join(bob, "room:mixed", BinaryRoom)]

        await asyncio.gather(talk(alice, "room:mixed"), talk(bob, "room:mixed", to_bytes))
        async with asyncio.timeout(10):
            for room in rooms:
                await room.complete.wait()
        answer = await bob.rpc("echo", to_bytes({"text": "hello"}))
        with pytest.raises(ReplyError) as caught:
            await bob.publish("room:mixed", b"\x00")

    assert rooms[0].seen == rooms[1].seen
    assert [room.names for room in rooms] == [{"alice", "bob"}] * 2
    for user in (server.subject("alice"), server.subject("bob")):
        assert [n for who, n in rooms[0].seen if who == user] == list(range(MESSAGES))
    assert json.loads(answer.data) == {"text": "hello"}
    assert caught.value.code == 107


class Visitors(Room):
    """Who comes and who goes, by connection."""

    def __init__(self) -> None:
        super().__init__()
        self.changes: asyncio.Queue[tuple[str, str]] = asyncio.Queue()

    @override
    async def on_join(self, ctx: JoinContext) -> None:
        """Note who came."""
        self.changes.put_nowait(("join", ctx.info.client))

    @override
    async def on_leave(self, ctx: LeaveContext) -> None:
        """Note who went."""
        self.changes.put_nowait(("leave", ctx.info.client))


@pytest.mark.parametrize("use_protobuf", [False, True])
async def test_the_sdk_sees_who_is_there(server: Embedded, *, use_protobuf: bool) -> None:
    """Joins and leaves, one's own among them; members and their numbers."""
    options = {"use_protobuf": use_protobuf}
    channel = f"room:visitors-{use_protobuf}"
    visitors = Visitors()
    async with server.sdk(token=server.token("alice"), **options) as alice:
        subscription = alice.new_subscription(channel, events=visitors, join_leave=True)
        await subscription.subscribe()
        await subscription.ready()
        async with server.sdk(token=server.token("alice"), **options) as again:
            await join(again, channel)
            async with asyncio.timeout(10):
                changes = [await visitors.changes.get() for _ in range(2)]
            present = (await subscription.presence()).clients
            stats = await subscription.presence_stats()
        async with asyncio.timeout(10):
            changes.append(await visitors.changes.get())

    (_, first), (_, second), _ = changes
    assert set(present) == {first, second}
    assert changes == [("join", first), ("join", second), ("leave", second)]
    assert {info.user for info in present.values()} == {server.subject("alice")}
    assert (stats.num_clients, stats.num_users) == (2, 1)


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


class Listener(SubscriptionEventHandler):  # type: ignore[misc]
    """What one subscription goes through."""

    def __init__(self) -> None:
        self.numbers: asyncio.Queue[int] = asyncio.Queue()
        self.subscribed: asyncio.Queue[SubscribedContext] = asyncio.Queue()

    @override
    async def on_subscribed(self, ctx: SubscribedContext) -> None:
        """Note whether it was resumed."""
        self.subscribed.put_nowait(ctx)

    @override
    async def on_publication(self, ctx: PublicationContext) -> None:
        """Note it."""
        self.numbers.put_nowait(ctx.pub.data["number"])


async def test_a_client_that_was_away_gets_what_it_missed(server: Embedded) -> None:
    """In order, and before what is new; the SDK does it by itself."""
    listener = Listener()
    async with (
        asyncio.timeout(20),
        server.sdk(token=server.token("alice")) as alice,
        server.sdk(token=server.token("bob")) as bob,
    ):
        subscription = bob.new_subscription("room:recovery", events=listener)
        await subscription.subscribe()
        first = await listener.subscribed.get()
        await alice.publish("room:recovery", {"number": 0})
        await listener.numbers.get()

        await bob.disconnect()
        for number in range(1, 51):
            await alice.publish("room:recovery", {"number": number})
        await bob.connect()
        again = await listener.subscribed.get()
        await alice.publish("room:recovery", {"number": 51})
        numbers = [await listener.numbers.get() for _ in range(51)]
        history = await subscription.history(limit=-1)

    assert (first.was_recovering, first.recovered) == (False, False)
    assert (again.was_recovering, again.recovered) == (True, True)
    assert numbers == list(range(1, 52))
    assert [found.data["number"] for found in history.publications] == list(range(52))
    assert history.offset == 52


async def test_a_client_that_missed_too_much_is_told(server: Embedded) -> None:
    """The demo's rooms keep a hundred publications."""
    listener = Listener()
    async with (
        asyncio.timeout(20),
        server.sdk(token=server.token("alice")) as alice,
        server.sdk(token=server.token("bob")) as bob,
    ):
        subscription = bob.new_subscription("room:told", events=listener)
        await subscription.subscribe()
        await listener.subscribed.get()

        await bob.disconnect()
        for number in range(102):
            await alice.publish("room:told", {"number": number})
        await bob.connect()
        again = await listener.subscribed.get()

    assert (again.was_recovering, again.recovered) == (True, False)
    assert listener.numbers.empty()
