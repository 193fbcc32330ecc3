"""What the server sends is what is wanted here; who waits knows when, and when not."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Iterable

import pytest

from tests.redis_server import RedisServer
from tests.ws_gateway.broker.conftest import HASTY, Proxy, until
from tests.ws_gateway.scripted_redis import Caller, ScriptedRedis, array, idle, skips_time
from ws_gateway.broker.redis_subscriber import BATCH, Subscriber
from ws_gateway.exceptions import BrokerUnavailable
from ws_gateway.redis_endpoint import Endpoint
from ws_gateway.redis_link import Timing

TIMING = Timing(connect=1, reply=1, probe=2, first_retry=0.5, last_retry=4)


def now() -> float:
    """Return the loop's time."""
    return asyncio.get_running_loop().time()


class Process:
    """A subscriber, and what it was brought."""

    def __init__(self, endpoint: Endpoint, timing: Timing) -> None:
        self.received: list[tuple[str, bytes]] = []
        self.resumed: list[str] = []
        self.subscriber = Subscriber(
            endpoint,
            key=lambda name: b"p:" + name.encode(),
            handler=self._take,
            resumed=self.resumed.append,
            timing=timing,
            jitter=lambda: 1.0,
        )
        self.live = self.subscriber.subscribed

    def _take(self, name: str, payload: bytes) -> None:
        self.received.append((name, payload))
        self.resumed_before = list(self.resumed)

    def wish(self, *names: str) -> asyncio.Future[list[None]]:
        """Want channels, in the tick that comes."""
        return asyncio.gather(
            *(asyncio.create_task(self.subscriber.subscribe(name)) for name in names)
        )

    @property
    def known(self) -> set[str]:
        """What it keeps anything about."""
        return {channel.name for channel in self.subscriber._channels.values()}


@contextlib.asynccontextmanager
async def subscribing(endpoint: Endpoint, timing: Timing = TIMING) -> AsyncIterator[Process]:
    """Run a subscriber and its link for a while."""
    process = Process(endpoint, timing)
    process.subscriber.start()
    task = asyncio.create_task(process.subscriber.link.run())
    try:
        yield process
    finally:
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await task
        process.subscriber.close()


def confirmed(kind: bytes, keys: Iterable[bytes]) -> bytes:
    """Return Redis's confirmations of one command."""
    return b"".join(array(kind, key, 1) for key in keys)


def subscribed(*names: str) -> bytes:
    """Confirm a SUBSCRIBE."""
    return confirmed(b"subscribe", (b"p:" + name.encode() for name in names))


def unsubscribed(*names: str) -> bytes:
    """Confirm an UNSUBSCRIBE."""
    return confirmed(b"unsubscribe", (b"p:" + name.encode() for name in names))


def message(name: str, payload: bytes) -> bytes:
    """Return what a subscriber is sent."""
    return array(b"message", b"p:" + name.encode(), payload)


async def obey(caller: Caller, count: int = 1) -> list[list[bytes]]:
    """Take so many commands, and confirm each when it comes."""
    commands = []
    for _ in range(count):
        command = await caller.heard()
        caller.say(confirmed(command[0].lower(), command[1:]))
        commands.append(command)
    await idle()
    return commands


def cancel_one(process: Process) -> None:
    """Let one who waits for the channel "news" go, in this very tick."""
    next(iter(process.subscriber._channels[b"p:news"].waiters or ())).cancel()


async def results(*wishes: asyncio.Future[list[None]]) -> set[type]:
    """Return how wishes ended."""
    return {type(end) for end in await asyncio.gather(*wishes, return_exceptions=True)}


class TestWishes:
    """At the end of a tick, what is wanted is compared with what was sent."""

    @skips_time
    async def test_wishes_of_a_tick_leave_in_one_write(self) -> None:
        """A thousand clients that come at once are not a thousand commands."""
        async with ScriptedRedis() as redis, subscribing(redis.endpoint) as process:
            caller = await redis.called()
            wish = process.wish("a", "b", "c")
            assert await obey(caller) == [[b"SUBSCRIBE", b"p:a", b"p:b", b"p:c"]]
            await wish

            wish = process.wish("d")
            process.subscriber.unsubscribe("a")
            process.subscriber.unsubscribe("b")

            assert await obey(caller, 2) == [
                [b"SUBSCRIBE", b"p:d"],
                [b"UNSUBSCRIBE", b"p:a", b"p:b"],
            ]
            await wish
            assert len(redis.endpoint.writes) == 2
            assert process.known == {"c", "d"}

    @skips_time
    async def test_a_channel_is_subscribed_once_for_all_who_want_it(self) -> None:
        """Who comes while it is asked for waits along; who comes later need not."""
        async with ScriptedRedis() as redis, subscribing(redis.endpoint) as process:
            caller = await redis.called()
            first = process.wish("news", "news")
            await idle()
            second = process.wish("news")
            await obey(caller)
            await asyncio.gather(first, second)

            await process.subscriber.subscribe("news")

            await idle()
            assert caller.requests.empty()
            assert len(redis.endpoint.writes) == 1

    @skips_time
    async def test_given_up_and_wanted_again_in_a_tick_costs_nothing(self) -> None:
        """Nothing is said about it; in between it was not delivered."""
        async with ScriptedRedis() as redis, subscribing(redis.endpoint) as process:
            caller = await redis.called()
            wish = process.wish("news")
            await obey(caller)
            await wish

            process.subscriber.unsubscribe("news")
            between = process.live("news")
            await process.subscriber.subscribe("news")
            await idle()

            assert (between, process.live("news")) == (False, True)
            assert caller.requests.empty()

    @skips_time
    async def test_wanted_and_given_up_in_a_tick_costs_nothing(self) -> None:
        """Who waited returns, and finds it gone; nothing is kept of it."""
        async with ScriptedRedis() as redis, subscribing(redis.endpoint) as process:
            caller = await redis.called()
            wish = process.wish("news")
            asyncio.get_running_loop().call_soon(process.subscriber.unsubscribe, "news")
            await wish
            await idle()

            assert not process.live("news")
            assert not process.known
            assert caller.requests.empty()

    @skips_time
    async def test_giving_up_what_nobody_has_is_nothing(self) -> None:
        """It happens where a client leaves that never got in."""
        async with ScriptedRedis() as redis, subscribing(redis.endpoint) as process:
            caller = await redis.called()
            process.subscriber.unsubscribe("news")
            await idle()

            assert caller.requests.empty()


class TestConfirmations:
    """A channel is live when the server has confirmed the last that was said about it."""

    @skips_time
    async def test_messages_are_delivered_from_the_confirmation_on(self) -> None:
        """And counted, whether they are delivered or not."""
        async with ScriptedRedis() as redis, subscribing(redis.endpoint) as process:
            caller = await redis.called()
            wish = process.wish("news")
            await idle()
            caller.say(message("news", b"early"), message("other", b"foreign"))
            caller.say(subscribed("news"), message("news", b"\x00"), message("news", b""))
            await wish
            await idle()

            assert process.received == [("news", b"\x00"), ("news", b"")]
            assert process.subscriber.messages == 4

    @skips_time
    async def test_given_up_before_the_confirmation(self) -> None:
        """Who waited returns at once; the confirmation on the way makes nothing live."""
        async with ScriptedRedis() as redis, subscribing(redis.endpoint) as process:
            caller = await redis.called()
            wish = process.wish("news")
            await idle()

            process.subscriber.unsubscribe("news")
            await wish
            await idle()
            caller.say(subscribed("news"), message("news", b"1"))
            await idle()
            half_way = process.live("news"), set(process.known)
            caller.say(unsubscribed("news"))
            await idle()

            assert half_way == (False, {"news"})
            assert process.received == []
            assert not process.known
            assert [(await caller.heard())[0] for _ in "su"] == [b"SUBSCRIBE", b"UNSUBSCRIBE"]

    @skips_time
    async def test_only_the_last_confirmation_says_what_is(self) -> None:
        """Wanted, given up and wanted again, each before the one before was confirmed."""
        async with ScriptedRedis() as redis, subscribing(redis.endpoint) as process:
            caller = await redis.called()
            first = process.wish("news")
            await idle()
            process.subscriber.unsubscribe("news")
            await first
            await idle()
            second = process.wish("news")
            await idle()

            caller.say(subscribed("news"))
            await idle()
            after_first = process.live("news")
            caller.say(unsubscribed("news"))
            await idle()
            after_second = process.live("news"), second.done()
            caller.say(subscribed("news"))
            await second

            assert (after_first, after_second) == (False, (False, False))
            assert process.live("news")

    @skips_time
    async def test_at_most_a_batch_is_unconfirmed(self) -> None:
        """Redis cuts who does not take its confirmations, and does nothing else meanwhile."""
        async with ScriptedRedis() as redis, subscribing(redis.endpoint) as process:
            caller = await redis.called()
            wish = process.wish(*(f"room:{n}" for n in range(BATCH * 2 + 500)))
            first = await caller.heard()
            await idle()
            alone = caller.requests.empty()

            caller.say(confirmed(b"subscribe", first[1:11]))
            await idle()
            second = await caller.heard()
            caller.say(confirmed(b"subscribe", first[11:] + second[1:]))
            sent = len(first[1:] + second[1:])
            while not wish.done():
                await idle()
                assert process.subscriber._unconfirmed <= BATCH
                while not caller.requests.empty():
                    command = await caller.heard()
                    sent += len(command[1:])
                    caller.say(confirmed(b"subscribe", command[1:]))

            assert BATCH == 1000
            assert alone
            assert (len(first[1:]), len(second[1:])) == (1000, 10)
            assert sent == BATCH * 2 + 500

    @skips_time
    async def test_giving_up_counts_in_the_batch_too(self) -> None:
        """It is confirmed channel by channel as well."""
        async with ScriptedRedis() as redis, subscribing(redis.endpoint) as process:
            caller = await redis.called()
            names = [f"room:{n}" for n in range(BATCH + 1)]
            wish = process.wish(*names)
            await obey(caller)
            await obey(caller)
            await wish

            for name in names:
                process.subscriber.unsubscribe(name)
            command = await caller.heard()
            await idle()

            assert len(command[1:]) == BATCH
            assert caller.requests.empty()
            caller.say(confirmed(b"unsubscribe", command[1:]))
            assert await obey(caller) == [[b"UNSUBSCRIBE", b"p:room:1000"]]
            assert not process.known

    @pytest.mark.parametrize(
        "reply",
        [
            subscribed("other"),
            subscribed("news") * 2,
            b"-NOPERM no permission\r\n",
            b"+OK\r\n",
            array(b"message", b"p:news"),
            b":1\r\n",
        ],
        ids=["unasked", "twice", "error", "status", "short", "number"],
    )
    @skips_time
    async def test_what_is_not_understood_ends_the_connection(self, reply: bytes) -> None:
        """Then nobody knows what the server has; the next one begins from nothing."""
        async with ScriptedRedis() as redis, subscribing(redis.endpoint) as process:
            first = await redis.called()
            wish = process.wish("news")
            await first.heard()
            first.say(reply)
            second = await redis.called()

            assert await obey(second) == [[b"SUBSCRIBE", b"p:news"]]
            await wish
            assert process.live("news")

    @skips_time
    async def test_answers_to_probes_are_understood(self) -> None:
        """Redis has two, with subscriptions and without."""
        async with ScriptedRedis() as redis, subscribing(redis.endpoint) as process:
            caller = await redis.called()
            for answer in (b"+PONG\r\n", array(b"pong", b"")):
                assert await caller.heard() == [b"PING"]
                caller.say(answer)
            await idle()

            assert process.subscriber.link.connected


class TestWaiting:
    """Nobody waits for ever, and who goes leaves nothing behind."""

    @skips_time
    async def test_no_confirmation_in_time(self) -> None:
        """The wish is withdrawn."""
        async with ScriptedRedis() as redis, subscribing(redis.endpoint) as process:
            caller = await redis.called()
            with pytest.raises(BrokerUnavailable, match="in time"):
                await process.subscriber.subscribe("news")
            told_at = now()

            assert told_at == pytest.approx(TIMING.reply * 1.1)
            assert await obey(caller, 2) == [[b"SUBSCRIBE", b"p:news"], [b"UNSUBSCRIBE", b"p:news"]]
            assert not process.known

    @skips_time
    async def test_who_comes_without_a_connection_waits_for_the_next(self) -> None:
        """A short break is not seen by who subscribes."""
        async with ScriptedRedis() as redis, subscribing(redis.endpoint) as process:
            (await redis.called()).cut()
            await idle()
            wish = process.wish("news")
            await obey(await redis.called())

            await wish
            assert process.live("news")

    @skips_time
    async def test_without_a_connection_it_waits_no_longer_than_for_a_reply(self) -> None:
        """And nothing is subscribed when there is one."""
        async with ScriptedRedis() as redis, subscribing(redis.endpoint) as process:
            redis.closed = True
            with pytest.raises(BrokerUnavailable, match="in time"):
                await process.subscriber.subscribe("news")
            await idle()
            redis.closed = False
            caller = await redis.called()

            assert not process.known
            assert caller.requests.empty()

    @skips_time
    async def test_one_of_two_who_wait_may_go(self) -> None:
        """The other gets what it waits for."""
        async with ScriptedRedis() as redis, subscribing(redis.endpoint) as process:
            caller = await redis.called()
            going, staying = process.wish("news"), process.wish("news")
            await idle()
            going.cancel()
            await obey(caller)
            await staying

            assert process.live("news")
            with pytest.raises(asyncio.CancelledError):
                await going

    @skips_time
    async def test_who_goes_in_the_tick_of_the_confirmation_leaves_nothing(self) -> None:
        """The confirmation is nobody's then."""
        async with ScriptedRedis() as redis, subscribing(redis.endpoint) as process:
            caller = await redis.called()
            wish = process.wish("news")
            await caller.heard()
            cancel_one(process)
            process.subscriber.received([b"subscribe", b"p:news", 1])

            assert not process.live("news")
            assert await obey(caller) == [[b"UNSUBSCRIBE", b"p:news"]]
            assert not process.known
            with pytest.raises(asyncio.CancelledError):
                await wish

    @skips_time
    async def test_who_goes_in_the_tick_of_the_giving_up_is_not_told(self) -> None:
        """The others are."""
        async with ScriptedRedis() as redis, subscribing(redis.endpoint) as process:
            await redis.called()
            going, staying = process.wish("news"), process.wish("news")
            await idle()

            cancel_one(process)
            process.subscriber.unsubscribe("news")

            assert await results(going, staying) == {asyncio.CancelledError, list}

    @skips_time
    async def test_the_end_tells_who_waits(self) -> None:
        """And forgets everything."""
        async with ScriptedRedis() as redis:
            async with subscribing(redis.endpoint) as process:
                await redis.called()
                going, staying = process.wish("news"), process.wish("news")
                await idle()

                cancel_one(process)
                process.subscriber.close()

            assert await results(going, staying) == {asyncio.CancelledError, BrokerUnavailable}
            assert not process.known


class TestReconnecting:
    """What is wanted is subscribed again; until then it is not live."""

    @skips_time
    async def test_all_that_is_wanted_comes_back(self) -> None:
        """Nothing else: what was given up meanwhile, or was being given up, does not."""
        async with ScriptedRedis() as redis, subscribing(redis.endpoint) as process:
            first = await redis.called()
            wish = process.wish("kept", "left", "leaving")
            await obey(first)
            await wish
            process.subscriber.unsubscribe("leaving")
            await idle()
            first.cut()
            await idle()
            meanwhile = [process.live(name) for name in ("kept", "left", "leaving")]
            process.subscriber.unsubscribe("left")
            second = await redis.called()

            assert await obey(second) == [[b"SUBSCRIBE", b"p:kept"]]
            assert meanwhile == [False] * 3
            assert process.live("kept")
            assert process.known == {"kept"}

    @skips_time
    async def test_it_is_ready_when_all_are_confirmed_again(self) -> None:
        """Wishes that came after the connection do not count, nor do those given up."""
        async with ScriptedRedis() as redis, subscribing(redis.endpoint) as process:
            first = await redis.called()
            states = [process.subscriber.ready]
            wish = process.wish("a", "b", "c")
            await obey(first)
            await wish
            first.cut()
            await idle()
            states.append(process.subscriber.ready)

            second = await redis.called()
            newest = process.wish("d")
            process.subscriber.unsubscribe("c")
            await idle()
            states.append(process.subscriber.ready)
            second.say(subscribed("a"), message("a", b"1"), message("b", b"2"))
            await idle()
            states.append(process.subscriber.ready)
            second.say(subscribed("b", "c"), unsubscribed("c"))
            await idle()
            states.append(process.subscriber.ready)
            waiting = not newest.done()
            second.say(subscribed("d"))
            await newest

            assert states == [True, False, False, False, True]
            assert waiting
            assert process.received == [("a", b"1")]

    @skips_time
    async def test_many_come_back_in_batches(self) -> None:
        """Each after the one before; ready only when all are."""
        async with ScriptedRedis() as redis, subscribing(redis.endpoint) as process:
            first = await redis.called()
            wish = process.wish(*(f"room:{n}" for n in range(BATCH + 500)))
            await obey(first)
            await obey(first)
            await wish
            while not first.requests.empty():
                await obey(first)
            first.cut()
            second = await redis.called()

            command = await second.heard()
            await idle()
            assert second.requests.empty()
            assert len(command[1:]) == BATCH
            second.say(confirmed(b"subscribe", command[1:]))
            early = process.subscriber.ready
            while not process.subscriber.ready:
                await obey(second)
            assert not early
            assert all(process.live(f"room:{n}") for n in range(BATCH + 500))


class TestDeafTime:
    """How long messages may have passed by is known."""

    @skips_time
    async def test_it_runs_from_the_start_to_the_first_connection(self) -> None:
        """Nothing is wanted yet, so a connection will do."""
        async with ScriptedRedis() as redis:
            redis.closed = True
            async with subscribing(redis.endpoint) as process:
                await asyncio.sleep(1)
                running = process.subscriber.deaf_seconds
                redis.closed = False
                await redis.called()
                await asyncio.sleep(1)

                assert redis.attempts[-1] == 1.5
                assert (running, process.subscriber.deaf_seconds) == (1, 1.5)

    @skips_time
    async def test_it_runs_from_what_was_heard_last_to_the_last_confirmation(self) -> None:
        """The connection may have been dead for all that time."""
        async with ScriptedRedis() as redis, subscribing(redis.endpoint) as process:
            first = await redis.called()
            wish = process.wish("a", "b")
            await obey(first)
            await wish
            await asyncio.sleep(1)
            first.say(message("a", b"1"))
            await first.gone.wait()  # given up at 6, heard at 1
            second = await redis.called()  # at 6.5
            lost_at = now()
            await second.heard()
            second.say(subscribed("a"))
            await asyncio.sleep(0.25)
            second.say(subscribed("b"))
            await idle()
            await asyncio.sleep(1)

            assert lost_at == 6.5
            assert process.subscriber.deaf_seconds == 5.75

    @skips_time
    async def test_outages_add_up_and_failed_attempts_do_not_begin_anew(self) -> None:
        """One that ends in another is one."""
        async with ScriptedRedis() as redis, subscribing(redis.endpoint) as process:
            wish = process.wish("a")
            first = await redis.called()
            await obey(first)
            await wish
            first.cut()
            second = await redis.called()  # after 0.5
            second.cut()  # before it has confirmed
            third = await redis.called()  # after 1
            await obey(third)

            assert process.subscriber.deaf_seconds == 1.5

    @skips_time
    async def test_it_stops_at_the_end(self) -> None:
        """A gateway that is stopped misses nothing."""
        async with ScriptedRedis() as redis:
            redis.closed = True
            async with subscribing(redis.endpoint) as process:
                await asyncio.sleep(1)
            await asyncio.sleep(1)

            assert process.subscriber.deaf_seconds == 1


class TestRaces:
    """With Redis itself, at the end of a line that cuts everything into pieces."""

    async def test_any_race_ends_with_what_was_wanted_last(
        self, proxy: Proxy, redis_server: RedisServer
    ) -> None:
        """Confirmations of earlier commands are not taken for those of later ones."""
        proxy.split = True
        async with subscribing(Endpoint(proxy.url), HASTY) as process:
            subscriber = process.subscriber

            async def waver(channel: str, rounds: int) -> None:
                for _ in range(rounds):
                    await subscriber.subscribe(channel)
                    await asyncio.sleep(0)
                    subscriber.unsubscribe(channel)
                    if rounds % 2:
                        await asyncio.sleep(0.001)
                if rounds % 3 == 0:
                    await subscriber.subscribe(channel)

            await asyncio.gather(*(waver(f"room:{n}", n) for n in range(40)))

            wanted = {f"room:{n}" for n in range(0, 40, 3)}
            keys = {b"p:" + name.encode() for name in wanted}
            await until(lambda: redis_server.channels() == keys)
            await until(lambda: not subscriber._unconfirmed)
            assert process.known == wanted
            assert {name for name in wanted if process.live(name)} == wanted

    @pytest.mark.parametrize("given_up_after", [0, 0.001, 0.01, 0.03])
    async def test_a_cancelled_wish_leaves_nothing(
        self, proxy: Proxy, redis_server: RedisServer, given_up_after: float
    ) -> None:
        """Whether it was not sent yet, is on its way, or is being confirmed."""
        proxy.delay = 0.01
        async with subscribing(Endpoint(proxy.url), HASTY) as process:
            await until(lambda: process.subscriber.ready)
            wish = process.wish("news")
            await asyncio.sleep(given_up_after)

            wish.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await wish
            process.subscriber.unsubscribe("news")

            await process.subscriber.subscribe("fence")
            await until(lambda: redis_server.channels() == {b"p:fence"})
            assert process.known == {"fence"}


class TestResumed:
    """Who was deaf for a while is told, before anything new is delivered."""

    @skips_time
    async def test_channel_that_was_live_is_resumed_after_a_lost_connection(self) -> None:
        """Once, with its confirmation; one that is new, or was given up, is not."""
        async with ScriptedRedis() as redis, subscribing(redis.endpoint) as process:
            caller = await redis.called()
            wish = process.wish("news", "other")
            await obey(caller)
            await wish
            assert process.resumed == []
            caller.cut()
            await caller.gone.wait()
            process.subscriber.unsubscribe("other")
            wish = process.wish("new")

            caller = await redis.called()
            await caller.heard()
            caller.say(subscribed("news", "new"), message("news", b"1"))
            await wish
            await idle()

            assert process.received == [("news", b"1")]
            assert process.resumed == process.resumed_before == ["news"]
