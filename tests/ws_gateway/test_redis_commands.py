"""Each caller gets the reply to its own request, or an error; never somebody else's."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator

import pytest

from tests.ws_gateway.scripted_redis import Caller, ScriptedRedis, array, idle, skips_time
from ws_gateway import redis_commands
from ws_gateway.exceptions import BrokerUnavailable
from ws_gateway.redis_commands import Commands, Script
from ws_gateway.redis_link import Timing

TIMING = Timing(connect=1, reply=1, probe=2, first_retry=0.5, last_retry=4)


@contextlib.asynccontextmanager
async def commanding(redis: ScriptedRedis) -> AsyncIterator[Commands]:
    """Run the commands' link for a while."""
    commands = Commands(redis.endpoint, timing=TIMING, jitter=lambda: 1.0)
    task = asyncio.create_task(commands.link.run())
    try:
        yield commands
    finally:
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await task
        commands.close()


async def hear(caller: Caller, count: int) -> list[bytes]:
    """Take so many requests of one word."""
    requests = [await caller.heard() for _ in range(count)]
    return [b" ".join(request) for request in requests]


class TestReplies:
    """They come in the order of the requests, and say nothing else about whose they are."""

    @skips_time
    async def test_each_caller_gets_its_own(self) -> None:
        """In one piece or in many."""
        async with ScriptedRedis() as redis, commanding(redis) as commands:
            caller = await redis.called()
            futures = [commands.request(b"ECHO", b"%d" % n) for n in range(100)]

            assert await hear(caller, 100) == [b"ECHO %d" % n for n in range(100)]
            caller.say(*(b":%d\r\n" % n for n in range(50)), b":5")
            await idle()
            caller.say(b"0\r\n", *(b":%d\r\n" % n for n in range(51, 100)))

            assert await asyncio.gather(*futures) == list(range(100))
            assert commands._unanswered_bytes == 0

    @skips_time
    async def test_time_to_the_reply_is_counted_by_command(self) -> None:
        """A script by its name; what the link asks for itself is not counted."""
        script = Script("return 1", "one")
        async with ScriptedRedis() as redis, commanding(redis) as commands:
            caller = await redis.called()
            future = commands.request(b"PUBLISH", b"a", b"b")
            called = asyncio.create_task(commands.call(script, ()))
            await hear(caller, 2)
            caller.say(b":1\r\n", b":1\r\n")
            await asyncio.gather(future, called)

        counts = {name: found.read()[0][-1] for name, found in commands.durations.items()}
        assert counts == {"publish": ("+Inf", 1), "one": ("+Inf", 1)}

    @skips_time
    async def test_who_went_away_leaves_its_place_to_nobody(self) -> None:
        """The reply comes all the same."""
        async with ScriptedRedis() as redis, commanding(redis) as commands:
            caller = await redis.called()
            futures = [commands.request(b"ECHO", b"%d" % n) for n in range(4)]
            futures[0].cancel()
            futures[2].cancel()

            caller.say(*(b":%d\r\n" % n for n in range(4)))

            assert [await futures[1], await futures[3]] == [1, 3]

    @skips_time
    async def test_an_error_is_for_its_own_caller(self) -> None:
        """The connection stays, and the others get what they asked for."""
        async with ScriptedRedis() as redis, commanding(redis) as commands:
            caller = await redis.called()
            futures = [commands.request(b"GET", key) for key in (b"a", b"b", b"c")]

            caller.say(b"+A\r\n", b"-NOPERM not yours\r\n", b"+C\r\n")
            answers = await asyncio.gather(*futures, return_exceptions=True)

            assert [answers[0], answers[2]] == [b"A", b"C"]
            assert isinstance(answers[1], BrokerUnavailable)
            assert "not yours" in str(answers[1])
            assert commands.link.connected

    @skips_time
    async def test_an_error_for_who_went_away_is_nobodys(self) -> None:
        """Nor is it a warning of an exception that nobody took."""
        async with ScriptedRedis() as redis, commanding(redis) as commands:
            caller = await redis.called()
            commands.request(b"GET", b"a").cancel()
            future = commands.request(b"GET", b"b")

            caller.say(b"-ERR\r\n", b"+B\r\n")

            assert await future == b"B"

    @skips_time
    async def test_the_answer_to_a_probe_is_no_callers(self) -> None:
        """Though it stands in the same line."""
        async with ScriptedRedis() as redis, commanding(redis) as commands:
            caller = await redis.called()
            assert await caller.heard() == [b"PING"]
            future = commands.request(b"ECHO", b"1")

            caller.say(b"+PONG\r\n", b":1\r\n")

            assert await future == 1

    @skips_time
    async def test_a_reply_that_nobody_asked_for_ends_the_connection(self) -> None:
        """From there on all would be one off."""
        async with ScriptedRedis() as redis, commanding(redis) as commands:
            caller = await redis.called()
            future = commands.request(b"ECHO", b"1")

            caller.say(b":1\r\n", b":2\r\n")
            await redis.called()

            assert await future == 1
            assert commands.link.reconnects == 1


class TestSending:
    """What a tick asks for leaves together, or not at all."""

    @skips_time
    async def test_requests_of_a_tick_are_one_write(self) -> None:
        """A write each would be most of the cost."""
        async with ScriptedRedis() as redis, commanding(redis) as commands:
            caller = await redis.called()
            futures = [commands.request(b"ECHO", b"%d" % n) for n in range(100)]
            await hear(caller, 100)

            assert redis.endpoint.writes == [
                b"".join(array(b"ECHO", b"%d" % n) for n in range(100))
            ]
            caller.say(*(b":%d\r\n" % n for n in range(100)))
            await asyncio.gather(*futures)

    @skips_time
    async def test_nothing_is_asked_without_a_connection(self) -> None:
        """Before the first, and between two; it is not kept for the next either."""
        async with ScriptedRedis() as redis, commanding(redis) as commands:
            with pytest.raises(BrokerUnavailable, match="no connection"):
                await commands.request(b"ECHO", b"early")
            first = await redis.called()
            redis.closed = True
            first.cut()
            await idle()
            with pytest.raises(BrokerUnavailable, match="no connection"):
                await commands.request(b"ECHO", b"between")
            redis.closed = False
            second = await redis.called()

            assert first.requests.empty()
            assert second.requests.empty()

    @skips_time
    async def test_there_is_a_bound_on_what_is_unanswered(
        self, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """In bytes, and until Redis has answered: what callers gave up still lies in buffers."""
        monkeypatch.setattr(redis_commands, "_MAX_UNANSWERED_BYTES", 1000)
        async with ScriptedRedis() as redis, commanding(redis) as commands:
            caller = await redis.called()
            future = commands.request(b"ECHO", bytes(990))
            with pytest.raises(BrokerUnavailable, match="keep up"):
                await commands.request(b"ECHO", b"more")
            future.cancel()
            with pytest.raises(BrokerUnavailable, match="keep up"):
                await commands.request(b"ECHO", b"more")
            await caller.heard()
            caller.say(b"+OK\r\n")
            await idle()

            future = commands.request(b"ECHO", b"more")
            assert await caller.heard() == [b"ECHO", b"more"]
            caller.say(b"+more\r\n")
            assert await future == b"more"

    def test_the_bound_holds_several_of_the_largest_messages(self) -> None:
        """By default; a single one may always be sent."""
        assert redis_commands._MAX_UNANSWERED_BYTES >= 2 * 2**24


class TestLoss:
    """A reply that does not come is no success, and no reason to ask again."""

    @skips_time
    async def test_all_who_wait_are_told_at_once(self) -> None:
        """Those who have gone are not, and nothing is asked over the next connection."""
        async with ScriptedRedis() as redis, commanding(redis) as commands:
            first = await redis.called()
            futures = [commands.request(b"ECHO", b"%d" % n) for n in range(10)]
            futures[3].cancel()
            await hear(first, 10)
            first.say(b":0\r\n")

            first.cut()
            answers = await asyncio.gather(*futures, return_exceptions=True)
            second = await redis.called()

            assert redis.attempts == [0, 0.5]
            assert [isinstance(answer, BrokerUnavailable) for answer in answers[1:]] == [
                n != 3 for n in range(1, 10)
            ]
            assert second.requests.empty()
            assert commands._unanswered_bytes == 0

    @skips_time
    async def test_the_next_connection_counts_from_the_start(self) -> None:
        """Replies of the one before are not expected on it."""
        async with ScriptedRedis() as redis, commanding(redis) as commands:
            first = await redis.called()
            lost = commands.request(b"ECHO", b"1")
            await first.heard()
            first.cut()
            second = await redis.called()
            found = commands.request(b"ECHO", b"2")
            second.say(b":2\r\n")

            assert await found == 2
            with pytest.raises(BrokerUnavailable, match="lost before the reply"):
                await lost

    @skips_time
    async def test_a_probe_may_be_lost_too(self) -> None:
        """Nobody waits for it."""
        async with ScriptedRedis() as redis, commanding(redis) as commands:
            caller = await redis.called()
            await caller.heard()
            caller.cut()
            await redis.called()

            assert commands.link.reconnects == 1

    @skips_time
    async def test_silence_is_told_in_time(self) -> None:
        """The reply is still expected, for it may come, and is not the next one's."""
        async with ScriptedRedis() as redis, commanding(redis) as commands:
            caller = await redis.called()
            late = commands.request(b"ECHO", b"late")
            with pytest.raises(BrokerUnavailable, match="in time"):
                await late
            told_at = asyncio.get_running_loop().time()

            caller.say(b"+late\r\n")
            await idle()
            future = commands.request(b"ECHO", b"next")
            caller.say(b"+next\r\n")

            assert await future == b"next"
            assert told_at == pytest.approx(TIMING.reply * 1.1)

    @skips_time
    async def test_who_asks_while_it_lasts_is_told_at_once(self) -> None:
        """Ten questions, one after the other, would be ten times as late; and nothing is sent."""
        async with ScriptedRedis() as redis, commanding(redis) as commands:
            caller = await redis.called()
            late = commands.request(b"ECHO", b"late")
            await caller.heard()
            with pytest.raises(BrokerUnavailable, match="in time"):
                await late

            for _ in range(10):
                with pytest.raises(BrokerUnavailable, match="does not answer"):
                    await commands.request(b"ECHO", b"next")

            assert caller.requests.empty()

    @skips_time
    async def test_a_new_connection_is_not_silent(self) -> None:
        """Whatever the one before was."""
        async with ScriptedRedis() as redis, commanding(redis) as commands:
            first = await redis.called()
            with pytest.raises(BrokerUnavailable, match="in time"):
                await commands.request(b"ECHO", b"late")
            first.cut()
            second = await redis.called()
            future = commands.request(b"ECHO", b"next")
            second.say(b"+next\r\n")

            assert await future == b"next"

    @skips_time
    async def test_the_end_tells_who_waits(self) -> None:
        """And leaves no timer."""
        async with ScriptedRedis() as redis:
            async with commanding(redis) as commands:
                await redis.called()
                future = commands.request(b"ECHO", b"1")

            with pytest.raises(BrokerUnavailable, match="lost before the reply"):
                await future
            assert commands._patience._timer is None


class TestScripts:
    """One step of several commands, sent by name."""

    @skips_time
    async def test_every_server_is_told_them_first(self) -> None:
        """Also the next one; the answers are nobody's."""
        script = Script("return 1")
        async with ScriptedRedis() as redis:
            commands = Commands(
                redis.endpoint, timing=TIMING, jitter=lambda: 1.0, scripts=(script,)
            )
            task = asyncio.create_task(commands.link.run())
            for _ in range(2):
                caller = await redis.called()
                calling = asyncio.create_task(commands.call(script, (b"k",), b"a"))
                assert await caller.heard() == [b"SCRIPT", b"LOAD", b"return 1"]
                assert await caller.heard() == [b"EVALSHA", script.digest, b"1", b"k", b"a"]
                caller.say(b"+digest\r\n", b":7\r\n")
                assert await calling == 7
                caller.cut()
            task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await task
            commands.close()

    @skips_time
    async def test_unknown_one_is_sent_whole(self) -> None:
        """It was not executed, so this is no second time."""
        script = Script("return 1")
        async with ScriptedRedis() as redis, commanding(redis) as commands:
            caller = await redis.called()
            calling = asyncio.create_task(commands.call(script, (), b"a"))
            await caller.heard()
            caller.say(b"-NOSCRIPT No matching script.\r\n")

            assert await caller.heard() == [b"EVAL", b"return 1", b"0", b"a"]
            caller.say(b":7\r\n")

            assert await calling == 7

    @skips_time
    async def test_failing_one_is_not_sent_again(self) -> None:
        """Whatever else the server says."""
        script = Script("return 1")
        async with ScriptedRedis() as redis, commanding(redis) as commands:
            caller = await redis.called()
            calling = asyncio.create_task(commands.call(script, ()))
            await caller.heard()
            caller.say(b"-OOM command not allowed\r\n")

            with pytest.raises(BrokerUnavailable):
                await calling
            assert caller.requests.empty()


class TestShare:
    """One connection for several parts of a process, in one order."""

    @skips_time
    async def test_who_shares_it_is_told_of_every_connection(self) -> None:
        """After its scripts were sent, so that what it asks then finds them."""
        async with ScriptedRedis() as redis:
            commands = Commands(redis.endpoint, timing=TIMING, jitter=lambda: 1.0)
            commands.share((Script("return 1"),), lambda: asked.append(commands.request(b"GET")))
            asked: list[asyncio.Future[object]] = []
            task = asyncio.create_task(commands.link.run())
            for count in (1, 2):
                caller = await redis.called()
                assert await hear(caller, 2) == [b"SCRIPT LOAD return 1", b"GET"]
                assert len(asked) == count
                caller.say(b"+x\r\n:7\r\n")
                assert await asked[-1] == 7
                caller.cut()
            task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await task
            commands.close()
