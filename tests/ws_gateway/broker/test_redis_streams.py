"""Histories in Redis: what is kept how long, and that a lost tail is a new epoch."""

from __future__ import annotations

import pytest

from tests.redis_server import RedisServer
from tests.ws_gateway.broker.conftest import Process, Proxy, publication, until
from ws_gateway.broker.base import History, HistoryFilter, PublishOptions
from ws_gateway.broker.redis import PREFIX
from ws_gateway.exceptions import BrokerUnavailable

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

    async def lose_and_hear(self, process: Process, other: Process, server: RedisServer) -> History:
        """Let a server lose what a process has delivered last, and deliver it the new instead."""
        await process.broker.subscribe("news")
        await stream(process, 1, 2)
        before = self.snapshot(server)
        await stream(process, 3)
        seen = await process.broker.history("news")
        self.lose_tail(server, *before)
        await stream(other, 13, 14)
        await until(lambda: len(process.received) == 5)
        return seen

    async def test_who_has_seen_it_is_told_though_the_process_has_heard_what_came_after(
        self, process: Process, other: Process, redis_server: RedisServer
    ) -> None:
        """That is no proof of having been there: the position of who asks is asked about."""
        seen = await self.lose_and_hear(process, other, redis_server)

        found = await process.broker.history("news", EVERYTHING, seen=seen.position)

        assert found.position.offset == 4
        assert found.position.epoch != seen.position.epoch

    async def test_what_was_heard_before_a_new_connection_covers_up_nothing(
        self, proxied: Process, proxy: Proxy, other: Process, redis_server: RedisServer
    ) -> None:
        """Messages may be there before the connection on which the server is asked."""
        seen = await self.lose_and_hear(proxied, other, redis_server)

        proxy.cut()
        await until(lambda: not proxied.broker.ready())
        await proxied.recovered()
        await proxied.publish(1, "later")  # and what was sent before has been executed

        assert (await other.broker.history("news")).position.epoch != seen.position.epoch

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
