"""What is special about Redis: several processes, a line that breaks, a server that dies."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import msgspec
import pytest
from msgspec import Raw
from prometheus_client import CollectorRegistry

from tests.redis_server import RedisServer
from tests.ws_gateway import reader
from tests.ws_gateway.broker.conftest import HASTY, Proxy, make_broker, until
from ws_gateway.broker.base import HistoryFilter, Link, PublishOptions
from ws_gateway.broker.redis import PREFIX, RedisBroker
from ws_gateway.broker.redis_subscriber import BATCH
from ws_gateway.exceptions import BrokerUnavailable
from ws_gateway.metrics import Metrics
from ws_gateway.protocol.messages import ClientInfo, Publication
from ws_gateway.redis_link import Timing


def publication(number: int) -> Publication:
    """Return one that can be told from others."""
    return Publication(data=Raw(str(number).encode()))


class Process:
    """A broker as one gateway process has it, and what it was brought."""

    def __init__(self, url: str, **options: Any) -> None:  # noqa: ANN401 - RedisBroker's own
        self.registry = CollectorRegistry()
        self.broker: RedisBroker = make_broker(url, Metrics(self.registry, "test"), **options)
        self.received: list[tuple[str, Publication]] = []
        self.published_at: list[float] = []

    def take(self, channel: str, publication: Publication, _link: Link | None, at: float) -> None:
        """Be the handler."""
        self.received.append((channel, publication))
        self.published_at.append(at)

    def numbers(self, channel: str = "news") -> list[int]:
        """Return what was delivered in a channel."""
        return [int(bytes(found.data)) for name, found in self.received if name == channel]

    def metric(self, name: str) -> float:
        """Read a metric as Prometheus would."""
        value = self.registry.get_sample_value(name)
        assert value is not None
        return value

    async def publish(self, number: int, channel: str = "news") -> int:
        """Publish, and return how many processes took it."""
        return (await self.broker.publish(channel, publication(number))).receivers

    async def published(self, number: int, channel: str = "news") -> bool:
        """Publish, and say whether it was acknowledged."""
        try:
            await self.publish(number, channel)
        except BrokerUnavailable:
            return False
        return True

    async def recovered(self) -> None:
        """Wait until it is ready again."""
        await until(self.broker.ready)


Processes = Callable[..., contextlib.AbstractAsyncContextManager[Process]]


@contextlib.asynccontextmanager
async def running(url: str, **options: Any) -> AsyncIterator[Process]:  # noqa: ANN401
    """Run a process's broker for a while."""
    process = Process(url, **options)
    await process.broker.start(process.take)
    try:
        yield process
    finally:
        await process.broker.stop()


@pytest.fixture
async def process(redis_server: RedisServer) -> AsyncIterator[Process]:
    """One process."""
    async with running(redis_server.url) as process:
        yield process


@pytest.fixture
async def other(redis_server: RedisServer) -> AsyncIterator[Process]:
    """Another process."""
    async with running(redis_server.url) as process:
        yield process


@pytest.fixture
async def proxied(proxy: Proxy) -> AsyncIterator[Process]:
    """A process at the end of a line that can be made bad."""
    async with running(proxy.url) as process:
        yield process


@pytest.fixture
async def survivor(mortal_redis: RedisServer) -> AsyncIterator[Process]:
    """A process whose Redis may be killed."""
    async with running(mortal_redis.url) as process:
        yield process


def key(channel: str) -> bytes:
    """Return a channel's name in Redis."""
    return b"drawbridge:1:ch:" + channel.encode()


class TestProcesses:
    """Several gateways are one service."""

    async def test_publications_of_one_reach_the_others_in_order(
        self, process: Process, other: Process
    ) -> None:
        """Both ways, and each process its own."""
        for each in (process, other):
            await each.broker.subscribe("a")
            await each.broker.subscribe("b")

        for number in range(0, 1000, 50):
            batch = range(number, number + 50)
            await asyncio.gather(
                *(process.publish(n, "a") for n in batch), *(other.publish(n, "b") for n in batch)
            )

        for each in (process, other):
            await until(lambda each=each: len(each.received) == 2000)  # type: ignore[misc]
            assert each.numbers("a") == each.numbers("b") == list(range(1000))

    async def test_receivers_are_counted_over_all_processes(
        self, process: Process, other: Process
    ) -> None:
        """A private message to someone who is on no gateway can be told from one that arrives."""
        nobody = await process.publish(1, "dm:#bob")
        await other.broker.subscribe("dm:#bob")
        elsewhere = await process.publish(2, "dm:#bob")
        await process.broker.subscribe("dm:#bob")
        both = await process.publish(3, "dm:#bob")

        assert (nobody, elsewhere, both) == (0, 1, 2)

    async def test_everything_about_a_publication_arrives(
        self, process: Process, other: Process
    ) -> None:
        """Byte for byte, whatever the bytes; what is absent stays absent."""
        info = ClientInfo(user="ö", client="c", conn_info=Raw(b"null"), chan_info=Raw(b'{"a" :1}'))
        sent = Publication(data=Raw(bytes(range(256))), info=info)
        await other.broker.subscribe("news")

        await process.broker.publish("news", sent)

        await until(lambda: other.received)
        ((_, found),) = other.received
        assert found.info is not None
        assert bytes(found.data) == bytes(sent.data)
        assert (found.info.user, found.info.client, found.offset) == ("ö", "c", 0)
        assert bytes(found.info.conn_info) == b"null"
        assert bytes(found.info.chan_info) == b'{"a" :1}'

    async def test_lag_is_measured(self, process: Process, redis_server: RedisServer) -> None:
        """From the publisher's clock to ours."""
        async with running(redis_server.url, clock=lambda: process.broker._clock() - 2) as late:
            await process.broker.subscribe("news")
            await late.publish(1)
            await until(lambda: process.received)

        assert process.published_at == [pytest.approx(time.time() - 2, abs=0.5)]
        assert process.metric("gateway_redis_lag_seconds_count") == 1
        assert process.metric("gateway_redis_lag_seconds_sum") == pytest.approx(2, abs=0.5)


class TestSubscriptions:
    """A gateway receives from Redis only what it has subscribers for."""

    async def test_server_knows_only_channels_with_subscribers(
        self, process: Process, redis_server: RedisServer
    ) -> None:
        """Names are prefixed and versioned; the last who leaves takes the subscription along."""
        await process.broker.subscribe("a")
        await process.broker.subscribe("b")
        before = redis_server.channels()

        process.broker.unsubscribe("a")

        assert before == {key("a"), key("b")}
        await until(lambda: redis_server.channels() == {key("b")})

    async def test_other_channels_are_not_even_received(
        self, process: Process, other: Process
    ) -> None:
        """They would cost the same as wanted ones."""
        await process.broker.subscribe("news")

        for number in range(100):
            await other.publish(number, "elsewhere")
        await other.publish(1)

        await until(lambda: process.received)
        assert process.metric("gateway_redis_messages_received_total") == 1

    async def test_message_on_the_way_is_not_delivered_after_giving_up(
        self, proxied: Process, process: Process, proxy: Proxy
    ) -> None:
        """Redis does not know yet; we do."""
        await proxied.broker.subscribe("news")
        proxy.delay = 0.02

        proxied.broker.unsubscribe("news")
        receivers = await process.publish(1)

        await proxied.broker.subscribe("fence")
        assert receivers == 1
        assert proxied.received == []


class TestBadMessages:
    """Whoever can write to Redis is trusted no further than that."""

    @pytest.mark.parametrize(
        "payload",
        [
            b"",
            b"not MessagePack",
            b'{"data":"JSON"}',
            msgspec.msgpack.encode([1]),
            msgspec.msgpack.encode([2, b"1", 0.0, None]),
            msgspec.msgpack.encode([1, "text", 0.0, None]),
            msgspec.msgpack.encode([1, b"1", 0.0, ["user"]]),
            msgspec.msgpack.encode([1, b"1", 0.0, None]) + b"rest",
            msgspec.msgpack.encode([1, b"1" * (2**24 + 2**16), 0.0, None]),
            b"c1 ",
            b"c1 no MessagePack",
        ],
        ids=[
            "empty",
            "text",
            "json",
            "short",
            "foreign-version",
            "wrong-type",
            "half-an-info",
            "trailing",
            "long",
            "empty-changes",
            "foreign-changes",
        ],
    )
    async def test_they_are_counted_and_dropped(
        self, process: Process, redis_server: RedisServer, payload: bytes
    ) -> None:
        """And what follows is delivered."""
        await process.broker.subscribe("news")

        redis_server.ask("PUBLISH", key("news"), payload)
        await process.publish(1)

        await until(lambda: process.received)
        assert process.numbers() == [1]
        assert process.metric("gateway_redis_malformed_total") == 1

    async def test_fields_of_a_later_gateway_are_passed_over(
        self, process: Process, redis_server: RedisServer
    ) -> None:
        """Two versions run side by side while one replaces the other."""
        await process.broker.subscribe("news")

        later = msgspec.msgpack.encode([1, b"7", 0.0, ["u", "c", b"", b"", "more"], None, "more"])
        redis_server.ask("PUBLISH", key("news"), later)

        await until(lambda: process.received)
        assert process.numbers() == [7]

    async def test_handler_that_fails_costs_one_publication(
        self, redis_server: RedisServer, caplog: pytest.LogCaptureFixture
    ) -> None:
        """Not the connection."""
        broker = make_broker(redis_server.url)
        received: list[int] = []

        def handle(_channel: str, publication: Publication, _link: Link | None, _at: float) -> None:
            received.append(int(bytes(publication.data)))
            if len(received) == 1:
                raise LookupError

        await broker.start(handle)
        await broker.subscribe("news")
        await broker.publish("news", publication(1))
        await broker.publish("news", publication(2))
        await until(lambda: len(received) == 2)
        await broker.stop()

        assert [record.message for record in caplog.records if record.exc_info] == [
            "publication not delivered"
        ]


class TestPublishing:
    """Nothing is acknowledged that Redis did not take, and nothing is sent twice."""

    async def test_reply_lost_in_the_middle_is_no_success(
        self, proxied: Process, process: Process, proxy: Proxy
    ) -> None:
        """Redis has taken it, but the publisher cannot know; it is not sent again."""
        await process.broker.subscribe("news")
        proxy.mute = True
        publishing = asyncio.ensure_future(proxied.publish(1))
        await until(lambda: process.received)

        proxy.cut()
        with pytest.raises(BrokerUnavailable):
            await publishing

        proxy.mute = False
        await proxied.recovered()
        await proxied.publish(2)
        await until(lambda: len(process.received) == 2)
        assert process.numbers() == [1, 2]
        assert proxied.metric("gateway_redis_publish_errors_total") == 1

    async def test_silence_fails_within_the_time_for_a_reply(
        self, proxied: Process, proxy: Proxy
    ) -> None:
        """A second by default; asked while the connection still seems to be there."""
        loop = asyncio.get_running_loop()
        proxy.silent = True
        began = loop.time()

        with pytest.raises(BrokerUnavailable):
            await proxied.publish(1)

        assert loop.time() - began < HASTY.reply * 2
        assert Timing().reply <= 1

    async def test_error_of_redis_fails_that_publication_only(
        self, mortal_redis: RedisServer
    ) -> None:
        """The ACL forbids a channel: others go on over the same connection."""
        mortal_redis.ask(
            *("ACL", "SETUSER", "gateway", "on", ">pw", "+@all", "resetchannels"),
            *("&drawbridge:1:ch:a*", "~*"),
        )
        url = mortal_redis.url.replace("redis://", "redis://gateway:pw@")
        async with running(url) as process:
            answers = [await process.published(1, channel) for channel in ("a", "b", "aa")]

            assert answers == [True, False, True]
            assert process.metric("gateway_redis_reconnects_total") == 0


class TestRedisDies:
    """Sockets stay, the gateway says so, and comes back by itself."""

    async def test_delivery_goes_on_after_a_restart(
        self, survivor: Process, mortal_redis: RedisServer
    ) -> None:
        """Nobody subscribes again; what fails in between is not delivered later either."""
        await survivor.broker.subscribe("news")
        assert await survivor.published(1)
        await until(lambda: survivor.received)
        mortal_redis.kill()

        acknowledged = [await survivor.published(number) for number in range(10, 30)]
        ready = survivor.broker.ready()
        subscribed = survivor.broker.subscribed("news")
        mortal_redis.start()
        await survivor.recovered()
        assert await survivor.published(2)
        await until(lambda: len(survivor.received) == 2)

        assert not any(acknowledged)
        assert not ready
        assert not subscribed
        assert survivor.broker.subscribed("news")
        assert survivor.numbers() == [1, 2]
        assert survivor.metric("gateway_redis_reconnects_total") == 2
        assert survivor.metric("gateway_redis_deaf_seconds_total") > 0

    async def test_nothing_is_acknowledged_that_was_not_taken(
        self, survivor: Process, mortal_redis: RedisServer
    ) -> None:
        """Killed under load: what was acknowledged is what a subscriber got, or more came."""
        await survivor.broker.subscribe("news")
        acknowledged: list[int] = []

        async def publish(number: int) -> None:
            if await survivor.published(number):
                acknowledged.append(number)

        calls = []
        for number in range(2000):
            calls.append(asyncio.ensure_future(publish(number)))
            if number % 20 == 0:
                await asyncio.sleep(0)
            if number == 1000:
                await until(lambda: acknowledged)
                mortal_redis.kill()
        await asyncio.gather(*calls)

        # Redis writes the message before the reply, but on two sockets: nothing says that both
        # left before the kill. A number that was acknowledged was delivered, or is of the very
        # last batch.
        last = max(survivor.numbers())
        assert acknowledged
        assert [n for n in acknowledged if n <= last and n not in set(survivor.numbers())] == []
        assert survivor.numbers() == sorted(survivor.numbers())
        mortal_redis.start()
        await survivor.recovered()

    async def test_new_channel_cannot_be_had_meanwhile(
        self, survivor: Process, mortal_redis: RedisServer
    ) -> None:
        """It fails in time, and is not kept; one that others here have cannot be had either."""
        await survivor.broker.subscribe("news")
        mortal_redis.kill()
        await until(lambda: not survivor.broker.ready())

        for channel in ("other", "news"):
            with pytest.raises(BrokerUnavailable):
                await survivor.broker.subscribe(channel)

        mortal_redis.start()
        await survivor.recovered()
        assert mortal_redis.channels() == {key("news")}

    async def test_channel_given_up_meanwhile_is_not_subscribed_again(
        self, survivor: Process, mortal_redis: RedisServer
    ) -> None:
        """And one wanted meanwhile is."""
        await asyncio.gather(*map(survivor.broker.subscribe, ("kept", "left")))
        mortal_redis.kill()
        await until(lambda: not survivor.broker.ready())

        survivor.broker.unsubscribe("left")
        mortal_redis.start()
        await survivor.recovered()

        assert mortal_redis.channels() == {key("kept")}

    async def test_away_at_the_start(self, mortal_redis: RedisServer) -> None:
        """The process is up, not ready, and becomes ready by itself."""
        mortal_redis.kill()
        async with running(mortal_redis.url) as process:
            early = process.broker.ready(), await process.published(1)
            mortal_redis.start()
            await process.recovered()
            late = process.broker.ready(), await process.published(1)

        assert (early, late) == ((False, False), (True, True))

    async def test_many_channels_come_back_in_batches(
        self, survivor: Process, mortal_redis: RedisServer
    ) -> None:
        """Each batch after the one before is confirmed; ready only when all are."""
        channels = [f"room:{number}" for number in range(10_000)]
        for start in range(0, len(channels), BATCH):
            await asyncio.gather(*map(survivor.broker.subscribe, channels[start : start + BATCH]))
        mortal_redis.kill()
        await until(lambda: not survivor.broker.ready())

        mortal_redis.start()
        await survivor.recovered()

        assert len(mortal_redis.channels()) == 10_000
        assert all(map(survivor.broker.subscribed, channels))
        assert _calls(mortal_redis, "subscribe") >= 10_000 / BATCH


class TestBadLine:
    """The line breaks, not the server."""

    async def test_silent_connection_is_found_out(
        self, proxied: Process, process: Process, proxy: Proxy
    ) -> None:
        """No end and no reset comes: only the probe tells. The time is counted as deaf."""
        await proxied.broker.subscribe("news")
        proxy.silent = True

        await until(lambda: not proxied.metric("gateway_redis_subscriber_connected"))
        proxy.silent = False
        await proxied.recovered()
        await process.publish(1)

        await until(lambda: proxied.received)
        assert proxied.metric("gateway_redis_deaf_seconds_total") > HASTY.probe
        assert Timing().probe * 3 < 5

    async def test_each_cut_is_mended(
        self, proxied: Process, process: Process, proxy: Proxy
    ) -> None:
        """Cut at any moment, while publications come and go: order is kept, nothing comes twice."""
        await proxied.broker.subscribe("news")
        proxy.split = True
        publishing = True
        acknowledged = []

        async def publish() -> None:
            number = 0
            while publishing:
                number += 1
                if await proxied.published(number):
                    acknowledged.append(number)
                await asyncio.sleep(0.0005)

        task = asyncio.create_task(publish())
        for _ in range(10):
            enough = len(acknowledged) + 5
            await until(lambda enough=enough: len(acknowledged) >= enough)  # type: ignore[misc]
            mended = proxy.accepted + 2
            proxy.cut()
            await until(lambda mended=mended: proxy.accepted >= mended)  # type: ignore[misc]
            await proxied.recovered()
        publishing = False
        await task
        await process.publish(10**6)
        await until(lambda: 10**6 in proxied.numbers())

        assert proxied.numbers() == sorted(set(proxied.numbers()))
        assert proxied.metric("gateway_redis_reconnects_total") >= 10

    async def test_what_is_no_redis_is_never_ready(self, proxy: Proxy) -> None:
        """A port that accepts and says nothing."""
        proxy.silent = True
        async with running(proxy.url) as process:
            assert not process.broker.ready()
            assert process.metric("gateway_redis_subscriber_connected") == 0


class TestEnd:
    """Stopped is stopped."""

    async def test_nothing_is_left(self, redis_server: RedisServer) -> None:
        """No task, no connection, no warning of a resource that was not closed."""
        async with running(redis_server.url) as process:
            await process.broker.subscribe("news")
        waiting = process.broker.ready(), process.broker.subscribed("news")
        del process
        gc.collect()

        assert waiting == (False, False)
        assert asyncio.all_tasks() == {asyncio.current_task()}

    async def test_it_ends_while_redis_is_away(self, proxy: Proxy) -> None:
        """In the pause between attempts, and in an attempt that hangs."""
        proxy.silent = True
        process = Process(proxy.url)
        starting = asyncio.create_task(process.broker.start(process.take))
        await until(lambda: proxy.accepted)

        await process.broker.stop()

        await starting
        assert asyncio.all_tasks() - {asyncio.current_task()} == _of_the(proxy)

    async def test_it_ends_in_the_moment_in_which_a_connection_is_lost(self, proxy: Proxy) -> None:
        """A failure and the cancelling meet; the supervision must not go on."""
        for ticks in range(40):
            async with running(proxy.url):
                proxy.cut()
                for _ in range(ticks):
                    await asyncio.sleep(0)

        await until(lambda: asyncio.all_tasks() - {asyncio.current_task()} == _of_the(proxy))

    async def test_who_waits_is_told(self, proxied: Process, proxy: Proxy) -> None:
        """Neither publisher nor subscriber waits for ever."""
        proxy.silent = True
        waiting = [
            asyncio.ensure_future(proxied.published(1)),
            asyncio.ensure_future(proxied.broker.subscribe("news")),
        ]
        await asyncio.sleep(0.01)

        await proxied.broker.stop()

        results = await asyncio.gather(*waiting, return_exceptions=True)
        assert results[0] is False
        assert isinstance(results[1], BrokerUnavailable)


def test_prefix_carries_the_version() -> None:
    """Of the keys; the design names it."""
    assert PREFIX == b"drawbridge:1:ch:"


def _calls(server: RedisServer, command: str) -> int:
    """Count how often a command was executed since the server was started."""
    statistics = server.ask("INFO", "COMMANDSTATS").get(f"cmdstat_{command}", {"calls": 0})
    return int(statistics["calls"])


def _of_the(proxy: Proxy) -> set[asyncio.Task[Any]]:
    """Return the tasks in which the proxy runs."""
    return {
        task
        for task in asyncio.all_tasks()
        if getattr(task.get_coro(), "__qualname__", "").startswith(type(proxy).__name__)
    }


KEPT = PublishOptions(history_size=100, history_ttl=60)
EVERYTHING = HistoryFilter(limit=-1)


async def stream(process: Process, *numbers: int) -> None:
    """Publish into a channel with history."""
    for number in numbers:
        await process.broker.publish("news", publication(number), KEPT)


class TestLostTail:
    """Promise: "a pair of offset and epoch never stands for two publications"."""

    @staticmethod
    def lose_tail(server: RedisServer, snapshot: bytes, meta: dict[bytes, bytes]) -> None:
        """Bring the server back to where it was, as a restart from an older snapshot does."""
        stream_key, meta_key = PREFIX + b"s:{news}", PREFIX + b"m:{news}"
        server.ask("RESTORE", stream_key, 0, snapshot, "REPLACE")
        server.ask("DEL", meta_key)
        for field, value in meta.items():
            server.ask("HSET", meta_key, field, value)

    @staticmethod
    def snapshot(server: RedisServer) -> tuple[bytes, dict[bytes, bytes]]:
        """Take a snapshot."""
        fields = server.ask("HGETALL", PREFIX + b"m:{news}")
        pairs = fields.items() if isinstance(fields, dict) else zip(fields[::2], fields[1::2])  # noqa: B905
        return server.ask("DUMP", PREFIX + b"s:{news}"), dict(pairs)

    async def lose_what_was_published(self, process: Process, server: RedisServer) -> str:
        """Let a server lose what a process has published; return the stream's epoch."""
        await stream(process, 2)
        before = self.snapshot(server)
        epoch = (await process.broker.publish("news", publication(3), KEPT)).epoch
        await stream(process, 4, 5)
        self.lose_tail(server, *before)
        return epoch

    @pytest.mark.parametrize("again", [0, 2, 5], ids=["shorter", "as-long", "longer"])
    async def test_it_is_a_new_epoch_to_who_had_seen_it(
        self, process: Process, redis_server: RedisServer, again: int
    ) -> None:
        """However far the stream has come meanwhile, on its way past the same offsets."""
        await stream(process, 1, 2, 3)
        before = self.snapshot(redis_server)
        await stream(process, 4, 5)
        seen = (await process.broker.history("news")).position
        self.lose_tail(redis_server, *before)
        await stream(process, *range(10, 10 + again))

        found = await process.broker.history("news", EVERYTHING, seen=seen)
        later = await process.broker.history("news", seen=found.position)

        assert seen.offset == 5
        assert found.position.offset == 3 + again
        assert found.position.epoch != seen.epoch
        assert len(found.publications) == 3 + again
        assert later.position == found.position

    async def test_publishing_finds_it_too(
        self, process: Process, redis_server: RedisServer
    ) -> None:
        """Before the first offset is given a second time."""
        await stream(process, 1)
        before = self.snapshot(redis_server)
        await stream(process, 2)
        seen = (await process.broker.history("news")).position
        self.lose_tail(redis_server, *before)

        options = PublishOptions(history_size=100, history_ttl=60, seen=seen)
        published = await process.broker.publish("news", publication(3), options)

        assert published.offset == 2
        assert published.epoch != seen.epoch

    async def test_nobody_needs_to_be_subscribed_to_have_seen_it(
        self, process: Process, other: Process, redis_server: RedisServer
    ) -> None:
        """Whoever published knows how far the stream had come."""
        epoch = await self.lose_what_was_published(process, redis_server)
        await stream(other, 10, 11, 12)

        found = await process.broker.history("news")

        assert found.position.offset == 4
        assert found.position.epoch != epoch

    async def test_it_is_found_on_a_new_connection_before_anybody_asks(
        self, proxied: Process, proxy: Proxy, other: Process, redis_server: RedisServer
    ) -> None:
        """For whoever comes back to another process, which has seen nothing of it."""
        epoch = await self.lose_what_was_published(proxied, redis_server)
        await stream(other, 10, 11, 12)

        proxy.cut()
        await until(lambda: not proxied.broker.ready())
        await proxied.recovered()
        await proxied.publish(1, "later")  # and what was sent before has been executed

        assert (await other.broker.history("news")).position.epoch != epoch

    async def test_nothing_is_begun_for_a_channel_that_is_forgotten(
        self, proxied: Process, proxy: Proxy, redis_server: RedisServer
    ) -> None:
        """Its time was over, or the server is empty."""
        await stream(proxied, 1)
        redis_server.ask("FLUSHDB")

        proxy.cut()
        await until(lambda: not proxied.broker.ready())
        await proxied.recovered()
        await proxied.publish(1, "later")

        assert redis_server.ask("KEYS", "*") == []

    @pytest.mark.parametrize("publishes", [False, True], ids=["reading", "publishing"])
    async def test_epoch_that_is_lost_with_the_tail_does_not_return(
        self, process: Process, redis_server: RedisServer, *, publishes: bool
    ) -> None:
        """Two losses, one after the other: who was away has a position of the first epoch."""
        await stream(process, 1)
        before = self.snapshot(redis_server)
        first = await self.lose_what_was_published(process, redis_server)
        second = (await process.broker.history("news")).position.epoch
        self.lose_tail(redis_server, *before)

        if publishes:
            await stream(process, 20)
        third = (await process.broker.history("news")).position.epoch

        assert first < second < third

    async def test_what_was_seen_and_is_there_changes_nothing(self, process: Process) -> None:
        """At the top or before it, kept or not."""
        await stream(process, 1, 2)
        seen = (await process.broker.history("news")).position
        await stream(process, 3)
        top = (await process.broker.history("news", seen=seen)).position
        await process.broker.remove_history("news")

        found = await process.broker.history("news", seen=seen)

        assert found.position == top
        assert top.epoch == seen.epoch

    async def test_entries_left_without_a_position_are_forgotten(
        self, process: Process, redis_server: RedisServer
    ) -> None:
        """Redis may have evicted one key and not the other."""
        await stream(process, 1, 2)
        redis_server.ask("DEL", PREFIX + b"m:{news}")
        found = await process.broker.history("news", EVERYTHING)
        redis_server.ask("DEL", PREFIX + b"m:{news}")

        published = await process.broker.publish("news", publication(3), KEPT)

        assert (found.position.offset, found.publications) == (0, ())
        assert published.offset == 1


class TestStreams:
    """Scripts, keys and foreign entries."""

    async def test_all_keys_expire_and_are_of_one_slot(
        self, process: Process, redis_server: RedisServer
    ) -> None:
        """Nothing stays in Redis for ever; what is in braces decides the slot."""
        once = PublishOptions(history_size=1, history_ttl=60, idempotency_key="k", version=1)
        await process.broker.publish("news", publication(1), once)
        await process.broker.history("other")

        keys = redis_server.ask("KEYS", "*")

        assert len(keys) == 4
        for name in keys:
            assert name.startswith(PREFIX)
            assert name.split(b"{")[1].split(b"}")[0] in (b"news", b"other")
            assert redis_server.ask("PTTL", name) > 0

    async def test_channel_that_nobody_publishes_into_is_kept_for_an_hour_only(
        self, process: Process, redis_server: RedisServer
    ) -> None:
        """Whoever may subscribe can think of any number of names."""
        hour, meta = 3_600_000, PREFIX + b"m:{news}"
        await process.broker.history("news")
        empty = redis_server.ask("PTTL", meta)
        await stream(process, 1)
        published = redis_server.ask("PTTL", meta)
        await process.broker.history("news")

        assert 0 < empty <= hour
        assert published > hour
        assert redis_server.ask("PTTL", meta) > hour

    async def test_scripts_that_were_flushed_are_sent_again(
        self, process: Process, redis_server: RedisServer
    ) -> None:
        """Nothing was executed, so nothing is executed twice."""
        await stream(process, 1)
        redis_server.ask("SCRIPT", "FLUSH")

        await stream(process, 2)

        found = await process.broker.history("news", EVERYTHING)
        assert [bytes(one.data) for one in found.publications] == [b"1", b"2"]

    async def test_foreign_entry_is_counted(
        self, process: Process, redis_server: RedisServer
    ) -> None:
        """Whoever can write to Redis can spoil a history, and nothing more."""
        await stream(process, 1)
        redis_server.ask("XADD", PREFIX + b"s:{news}", "2-1", "d", "no MessagePack")

        found = await process.broker.history("news", EVERYTHING)

        assert found.publications == ()
        assert process.metric("gateway_redis_malformed_total") == 1

    async def test_reply_that_is_lost_is_an_error_and_nothing_is_sent_twice(
        self, proxied: Process, proxy: Proxy, process: Process
    ) -> None:
        """It may have been accepted; only an idempotency key lets one find out."""
        once = PublishOptions(history_size=10, history_ttl=60, idempotency_key="k")
        await proxied.broker.subscribe("news")
        proxy.mute = True
        with pytest.raises(BrokerUnavailable):
            await proxied.broker.publish("news", publication(1), once)
        proxy.mute = False
        proxy.cut()
        await proxied.recovered()

        again = await proxied.broker.publish("news", publication(1), once)

        found = await process.broker.history("news", EVERYTHING)
        assert again.suppressed
        assert again.offset == 1
        assert len(found.publications) == 1


class TestRecord:
    """Promise 1, recorded: what every reader read, through a line that breaks."""

    async def test_every_reader_reads_everything_in_order_through_a_bad_line(
        self, mortal_redis: RedisServer
    ) -> None:
        """Nobody misses anything, or has to be told."""
        async with recorded(mortal_redis) as (near, far, proxy):

            async def cut() -> None:
                proxy.cut()

            readers = await self.live(near, far, cut)
            assert not any(one.told for one in readers)
            assert far.streams.filled

    async def test_every_reader_is_told_that_redis_has_lost_everything(
        self, mortal_redis: RedisServer
    ) -> None:
        """It keeps nothing on disk here, and is killed again and again."""

        async def restart() -> None:
            await asyncio.to_thread(mortal_redis.kill)
            await asyncio.to_thread(mortal_redis.start)

        async with recorded(mortal_redis) as (near, far, _):
            readers = await self.live(near, far, restart)
            assert any(one.told for one in readers)

    @staticmethod
    async def live(
        near: reader.Process, far: reader.Process, disturb: Callable[[], Awaitable[object]]
    ) -> list[reader.Reader]:
        """Publish from two processes while readers come and go; hold all records to the promise."""
        readers = [await process.reader() for process in (near, far) for _ in range(3)]
        acknowledged: list[int] = []

        async def publish() -> None:
            for number in range(600):
                if await (near if number % 2 else far).publish(number):
                    acknowledged.append(number)
                await asyncio.sleep(0.001)

        async def trouble() -> None:
            for _ in range(5):
                await asyncio.sleep(0.1)
                await disturb()

        async def come_and_go(one: reader.Reader) -> None:
            for _ in range(10):
                await one.persist()
                await asyncio.sleep(0.05)
                one.leave()
            await one.persist()  # away for longer, it would miss more than it is resumed with

        await asyncio.gather(publish(), trouble(), *map(come_and_go, readers[::2]))
        await until(lambda: near.broker.ready() and far.broker.ready())
        # A publication is owed to whoever is subscribed; who was told comes back for it.
        last = last_number = 1000
        async with asyncio.timeout(20):
            while not all(one.read and one.read[-1][2] >= last for one in readers):
                for one in readers:
                    await one.persist()
                last_number += 1
                await near.publish(last_number)
                await asyncio.sleep(0.1)
        for one in readers:
            reader.check(one, acknowledged)
        return readers


@contextlib.asynccontextmanager
async def recorded(
    server: RedisServer,
) -> AsyncIterator[tuple[reader.Process, reader.Process, Proxy]]:
    """Run one process near the server and one at the end of a line that can be cut."""
    proxy = Proxy(server.port)
    await proxy.start()
    near = reader.Process(make_broker(server.url), check_seconds=0.2)
    far = reader.Process(make_broker(proxy.url), check_seconds=0.2)
    processes = (near, far)
    for process in processes:
        await process.start()
    yield near, far, proxy
    for process in processes:
        for one in process.readers:
            one.leave()
        await process.stop()
    await proxy.stop()
