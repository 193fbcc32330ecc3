"""What is special about Redis: several processes, and who else writes to it."""

from __future__ import annotations

import asyncio
import time

import msgspec
import pytest
from msgspec import Raw

from tests.redis_server import RedisServer
from tests.ws_gateway.broker.conftest import (
    HASTY,
    Process,
    Proxy,
    key,
    make_broker,
    publication,
    running,
    until,
)
from ws_gateway.broker.base import Link
from ws_gateway.broker.redis import PREFIX
from ws_gateway.exceptions import BrokerUnavailable
from ws_gateway.protocol.messages import ClientInfo, Publication
from ws_gateway.redis_link import Timing


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


def test_prefix_carries_the_version() -> None:
    """Of the keys; the design names it."""
    assert PREFIX == b"drawbridge:1:ch:"
