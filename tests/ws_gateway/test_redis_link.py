"""A link is connected, or about to be; what is said over one connection is never said again."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import AsyncIterator
from typing import Any

import pytest
from redis.exceptions import RedisError, ResponseError

from tests.ws_gateway.scripted_redis import ScriptedRedis, array, idle, skips_time
from ws_gateway.exceptions import BrokerUnavailable
from ws_gateway.redis_endpoint import Endpoint
from ws_gateway.redis_link import Link, Patience, Timing

TIMING = Timing(connect=1, reply=1, probe=2, first_retry=0.5, last_retry=4)
PING = b"*1\r\n$4\r\nPING\r\n"


class Listener:
    """A speaker that says nothing by itself, and keeps what it is told.

    Attributes:
        fault: Raised by the next ``received``.
        heard: The replies.
        losses: What came with each ``lost``.
        probes: When a sign of life was asked for.
    """

    def __init__(self) -> None:
        self.fault: Exception | None = None
        self.heard: list[Any] = []
        self.losses: list[float] = []
        self.probes: list[float] = []
        self.changed = asyncio.Event()
        self.link: Link

    def connected(self) -> None:
        """See Speaker."""
        self.changed.set()

    def received(self, reply: Any) -> None:  # noqa: ANN401
        """See Speaker."""
        self.heard.append(reply)
        self.changed.set()
        if self.fault is not None:
            fault, self.fault = self.fault, None
            raise fault

    def probe(self) -> None:
        """See Speaker."""
        self.probes.append(asyncio.get_running_loop().time())
        self.link.write(PING)

    def lost(self, heard_at: float) -> None:
        """See Speaker."""
        self.losses.append(heard_at)
        self.changed.set()

    async def change(self) -> None:
        """Wait until the connection is made or lost, or something is heard."""
        await self.changed.wait()
        self.changed.clear()


@contextlib.asynccontextmanager
async def linked(
    endpoint: Endpoint, *, timing: Timing = TIMING, chance: float = 1.0
) -> AsyncIterator[Listener]:
    """Run a link for a while."""
    listener = Listener()
    listener.link = Link(endpoint, listener, name="test", timing=timing, jitter=lambda: chance)
    task = asyncio.create_task(listener.link.run())
    try:
        yield listener
    finally:
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await task


class TestConnecting:
    """A connection counts from Redis's first word on; until then it is tried again and again."""

    @skips_time
    async def test_it_is_there_when_redis_has_answered(self) -> None:
        """The first one is no reconnect."""
        async with ScriptedRedis() as redis, linked(redis.endpoint) as listener:
            before = listener.link.connected
            await listener.change()

            assert (before, listener.link.connected) == (False, True)
            assert listener.link.reconnects == 0

    @skips_time
    async def test_who_accepts_and_says_nothing_is_left_at_the_deadline(self) -> None:
        """It covers all that comes before the answer; the speaker hears nothing of it."""
        async with ScriptedRedis() as redis, linked(redis.endpoint) as listener:
            redis.greets = False
            await asyncio.sleep(10)

            assert redis.attempts == [0, 1.5, 3.5, 6.5]  # a second each, and 0.5, 1, 2, 4 between
            assert len(redis.open) == 0
            assert not listener.losses

    @pytest.mark.parametrize(
        ("chance", "pauses"),
        [
            (1.0, [0.5, 1, 2, 4, 4, 4]),
            (0.5, [0.375, 0.75, 1.5, 3, 3, 3]),
            (0.0, [0.25, 0.5, 1, 2, 2, 2]),
        ],
    )
    @skips_time
    async def test_pauses_double_up_to_a_bound(self, chance: float, pauses: list[float]) -> None:
        """Chance takes up to half of each; never all, or many gateways would storm."""
        async with ScriptedRedis() as redis, linked(redis.endpoint, chance=chance):
            redis.closed = True
            await asyncio.sleep(sum(pauses) + 0.1)

            assert redis.attempts == [sum(pauses[:n]) for n in range(7)]

    @skips_time
    async def test_a_connection_that_lasted_ends_the_doubling(self) -> None:
        """Longer than the longest pause; the next outage is another one."""
        async with ScriptedRedis() as redis, linked(redis.endpoint) as listener:
            redis.closed = True
            await asyncio.sleep(5)  # tried at 0, 0.5, 1.5, 3.5
            redis.closed = False
            caller = await redis.called()  # at 7.5
            for _ in "ab":
                await caller.heard()  # a probe, at 9.5 and 13.5
                caller.say(b"+PONG\r\n")
            caller.cut()
            await redis.called()

            assert redis.attempts[-2:] == [7.5, 14]
            assert listener.link.reconnects == 1

    @skips_time
    async def test_connections_that_do_not_last_are_not_made_ever_faster(self) -> None:
        """A Redis that lets us in and throws us out is treated as one that is away."""
        async with ScriptedRedis() as redis, linked(redis.endpoint):
            for _ in range(5):
                (await redis.called()).cut()

            assert redis.attempts == [0, 0.5, 1.5, 3.5, 7.5]

    @skips_time
    async def test_an_outage_is_one_line_in_the_log(self, caplog: pytest.LogCaptureFixture) -> None:
        """The attempts that follow are for who looks closer."""
        caplog.set_level(logging.DEBUG, "ws_gateway")
        async with ScriptedRedis() as redis, linked(redis.endpoint):
            redis.closed = True
            await asyncio.sleep(20)

        levels = [record.levelno for record in caplog.records if record.name != "asyncio"]
        assert levels[0] == logging.WARNING
        assert set(levels[1:]) == {logging.DEBUG}

    @skips_time
    async def test_a_fault_of_ours_is_logged_and_survived(
        self, caplog: pytest.LogCaptureFixture
    ) -> None:
        """With its traceback; the supervision is the last to give up."""
        async with ScriptedRedis() as redis, linked(redis.endpoint) as listener:
            caller = await redis.called()
            listener.fault = LookupError()
            caller.say(b"+OK\r\n")
            await redis.called()

        assert [r.getMessage() for r in caplog.records if r.exc_info] == ["redis link failed"]


class TestListening:
    """What Redis says reaches the speaker, and in order."""

    @skips_time
    async def test_replies_come_as_they_are(self) -> None:
        """An error is one of them."""
        async with ScriptedRedis() as redis, linked(redis.endpoint) as listener:
            caller = await redis.called()
            caller.say(b"+OK\r\n", b"-NOPERM no\r\n", array(b"message", b"news", b"\x00", 7))
            await idle()

            ok, refused, message = listener.heard
            assert ok == b"OK"
            assert isinstance(refused, ResponseError)
            assert message == [b"message", b"news", b"\x00", 7]
            assert not listener.losses

    @skips_time
    async def test_what_the_speaker_does_not_understand_ends_the_connection(self) -> None:
        """The next one begins anew."""
        async with ScriptedRedis() as redis, linked(redis.endpoint) as listener:
            caller = await redis.called()
            listener.fault = RedisError("what?")
            caller.say(b"+OK\r\n", b"+OK\r\n")
            await redis.called()

            assert listener.heard == [b"OK"]
            assert caller.gone.is_set()
            assert listener.link.reconnects == 1

    @skips_time
    async def test_what_is_no_redis_protocol_ends_the_connection(self) -> None:
        """An HTTP server, say."""
        async with ScriptedRedis() as redis, linked(redis.endpoint) as listener:
            caller = await redis.called()
            caller.say(b"HTTP/1.1 400 Bad Request\r\n\r\n")
            await redis.called()

            assert listener.heard == []
            assert len(listener.losses) == 1


class TestProbing:
    """No end and no reset comes from a dead machine; only a question tells."""

    @skips_time
    async def test_silence_is_asked_and_then_given_up(self) -> None:
        """Within three times the probe's period; known is only what was heard last."""
        async with ScriptedRedis() as redis, linked(redis.endpoint) as listener:
            caller = await redis.called()
            await asyncio.sleep(1)
            caller.say(b"+OK\r\n")
            await caller.gone.wait()

            # Periods end at 2 (something was heard), 4 (nothing: asked), 6 (nothing again).
            assert asyncio.get_running_loop().time() == 6
            assert listener.probes == [4]
            assert listener.losses == [1]

    @skips_time
    async def test_a_quiet_connection_that_answers_is_kept(self) -> None:
        """Asked once in two periods, for the answer counts as a sign of life."""
        async with ScriptedRedis() as redis, linked(redis.endpoint) as listener:
            caller = await redis.called()
            for _ in range(10):
                assert await caller.heard() == [b"PING"]
                caller.say(b"+PONG\r\n")

            assert len(listener.probes) == 10
            assert not listener.losses

    @skips_time
    async def test_traffic_needs_no_probe(self) -> None:
        """Whatever comes is a sign of life."""
        async with ScriptedRedis() as redis, linked(redis.endpoint) as listener:
            caller = await redis.called()
            for _ in range(10):
                await asyncio.sleep(1.5)
                caller.say(b"+OK\r\n")

            assert not listener.probes

    def test_a_dead_line_is_noticed_within_five_seconds(self) -> None:
        """By default."""
        assert Timing().probe * 3 < 5


class TestWriting:
    """What is said belongs to one connection."""

    @skips_time
    async def test_writes_of_a_tick_are_joined(self) -> None:
        """In order; those of the next tick are another write."""
        async with ScriptedRedis() as redis, linked(redis.endpoint) as listener:
            caller = await redis.called()
            for number in range(100):
                listener.link.write(array(b"%d" % number))
            await idle()
            listener.link.write(PING)
            await idle()

            assert redis.endpoint.writes == [b"".join(array(b"%d" % n) for n in range(100)), PING]
            assert [await caller.heard() for _ in range(100)] == [[b"%d" % n] for n in range(100)]

    @skips_time
    async def test_where_there_are_many_each_waits_for_the_next(self) -> None:
        """A moment, and only as long as there are: who is alone is not kept waiting."""
        async with ScriptedRedis() as redis, linked(redis.endpoint) as listener:
            await redis.called()

            async def talk(times: int, pause: float) -> int:
                before = len(redis.endpoint.writes)
                for _ in range(times):
                    listener.link.write(PING)
                    await asyncio.sleep(pause)
                return len(redis.endpoint.writes) - before

            assert await talk(100, 0.001) == 100
            await talk(200, 0.0002)
            assert await talk(100, 0.0002) <= 25
            await talk(20, 0.001)
            assert await talk(100, 0.001) == 100

            assert b"".join(redis.endpoint.writes) == 520 * PING

    @skips_time
    async def test_nothing_is_kept_for_the_next_connection(self) -> None:
        """Neither what was said without one, nor what the one before had no time for."""
        async with ScriptedRedis() as redis, linked(redis.endpoint) as listener:
            listener.link.write(array(b"early"))
            first = await redis.called()
            first.hold(reading=False)
            listener.link.write(array(b"ECHO", bytes(2**25)))
            await idle()
            listener.link.write(array(b"stuck"))
            first.cut()
            await idle()
            listener.link.write(array(b"between"))
            second = await redis.called()
            listener.link.write(array(b"new"))

            assert await second.heard() == [b"new"]

    @skips_time
    async def test_writing_does_not_open_a_connection_again(self) -> None:
        """redis-py would where it has found the end, and the speaker would not know."""
        async with ScriptedRedis() as redis, linked(redis.endpoint) as listener:
            await redis.called()

            await redis.endpoint.newest.disconnect(nowait=True)  # as its reader does
            listener.link.write(PING)
            await redis.called()

            assert redis.attempts == [0, 0.5]

    @skips_time
    async def test_writing_to_a_closed_socket_is_an_outage(
        self, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
    ) -> None:
        """Uvloop says RuntimeError where the end is known to it and not yet to the reader."""
        async with ScriptedRedis() as redis, linked(redis.endpoint) as listener:
            await redis.called()

            def refuse(_data: bytes) -> None:
                raise RuntimeError("the handler is closed")

            writer = redis.endpoint.newest._writer
            assert writer is not None
            monkeypatch.setattr(writer.transport, "write", refuse)
            listener.link.write(PING)
            await redis.called()

        assert [r.getMessage() for r in caplog.records if r.levelno >= logging.WARNING] == [
            "redis is away"
        ]


class TestEnding:
    """Cancelled is ended: no task, no socket, and the speaker knows."""

    @skips_time
    async def test_the_connection_is_closed(self) -> None:
        """On both sides."""
        async with ScriptedRedis() as redis:
            async with linked(redis.endpoint) as listener:
                caller = await redis.called()
                await listener.change()

            await caller.gone.wait()
            assert not listener.link.connected
            assert len(listener.losses) == 1
            assert asyncio.all_tasks() == {asyncio.current_task()}

    @skips_time
    async def test_a_peer_that_takes_nothing_is_not_waited_for(self) -> None:
        """What is buffered for it is thrown away; it must not overtake what is said next."""
        async with ScriptedRedis() as redis:
            async with linked(redis.endpoint) as listener:
                caller = await redis.called()
                await listener.change()
                caller.hold(reading=False)
                listener.link.write(array(b"ECHO", bytes(2**25)))
                await idle()
                assert redis.endpoint.writes
                before = asyncio.get_running_loop().time()

            assert asyncio.get_running_loop().time() == before
            caller.hold(reading=True)
            await caller.gone.wait()
            assert caller.requests.empty()

    @skips_time
    async def test_it_ends_while_redis_is_away(self) -> None:
        """In an attempt that hangs, and in the pause after it."""
        async with ScriptedRedis() as redis:
            redis.greets = False
            for seconds in (0.5, 1.25):
                async with linked(redis.endpoint) as listener:
                    await asyncio.sleep(seconds)

                assert asyncio.all_tasks() == {asyncio.current_task()}
                assert not listener.losses


class TestPatience:
    """Many futures, one timer."""

    @skips_time
    async def test_each_fails_when_its_time_is_over(self) -> None:
        """And a tenth of it, in which what has come is read first."""
        loop = asyncio.get_running_loop()
        patience = Patience(1)
        failed: list[float] = []

        async def wait(start: float) -> None:
            await asyncio.sleep(start)
            future = loop.create_future()
            patience.watch(future, loop)
            with pytest.raises(BrokerUnavailable):
                await future
            failed.append(loop.time())

        await asyncio.gather(wait(0), wait(0.5), wait(0.75), wait(3))

        assert failed == pytest.approx([1.1, 1.6, 1.85, 4.1])

    @skips_time
    async def test_what_is_done_in_time_is_left_alone(self) -> None:
        """Also in the last moment, and what was cancelled."""
        loop = asyncio.get_running_loop()
        patience = Patience(1)
        done, late, cancelled, never = (loop.create_future() for _ in range(4))
        for future in (done, late, cancelled, never):
            patience.watch(future, loop)

        done.set_result(1)
        cancelled.cancel()
        loop.call_at(1.05, late.set_result, 2)
        await asyncio.wait({never})

        assert (done.result(), late.result()) == (1, 2)
        assert isinstance(never.exception(), BrokerUnavailable)

    @skips_time
    async def test_what_is_done_is_not_kept(self) -> None:
        """At tens of thousands a second it would be a lot in a second."""
        loop = asyncio.get_running_loop()
        patience = Patience(1)
        for _ in range(1000):
            future = loop.create_future()
            patience.watch(future, loop)
            future.set_result(None)

        assert len(patience._waiting) == 1
        patience.close()

    @skips_time
    async def test_closed_it_rings_no_more(self) -> None:
        """What is watched is somebody else's then."""
        loop = asyncio.get_running_loop()
        patience = Patience(1)
        future = loop.create_future()
        patience.watch(future, loop)

        patience.close()
        patience.close()
        await asyncio.sleep(10)

        assert not future.done()

    def test_who_asks_is_told_within_a_second(self) -> None:
        """By default, the tenth included."""
        assert Timing().reply * 1.1 <= 1
