"""A line to Redis that breaks, a server that dies, and a process that ends meanwhile."""

from __future__ import annotations

import asyncio
import contextlib
import gc
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import pytest

from tests.redis_server import RedisServer
from tests.ws_gateway import reader
from tests.ws_gateway.broker.conftest import HASTY, Process, Proxy, key, make_broker, running, until
from ws_gateway.broker.redis_subscriber import BATCH
from ws_gateway.exceptions import BrokerUnavailable
from ws_gateway.redis_link import Timing


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
