"""The Redis stream, written by the test as the contract says, on a real Redis."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import Any

import pytest

from tests.redis_server import RedisServer
from tests.ws_gateway.revocations.conftest import LATER, STALE_SECONDS, Clock, entry, until
from ws_gateway.redis_endpoint import Endpoint
from ws_gateway.revocations import stream
from ws_gateway.revocations.deny_set import Revocation
from ws_gateway.revocations.follower import Follower
from ws_gateway.revocations.log import RevocationLog
from ws_gateway.revocations.stream import KEY, StreamReader

Follow = Callable[[], AbstractAsyncContextManager[None]]


@pytest.fixture
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RedisServer]:
    """A Redis for one test, that it may kill."""
    server = RedisServer(tmp_path_factory.mktemp("redis")).start()
    yield server
    server.kill()


@pytest.fixture
def follow(server: RedisServer, log: RevocationLog) -> Follow:
    """Follow the stream for a while, each time by the same reader."""
    follower = Follower(log, StreamReader(Endpoint(server.url)), jitter=lambda: 0)

    @asynccontextmanager
    async def run() -> AsyncIterator[None]:
        task = asyncio.create_task(follower.run())
        try:
            yield
        finally:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)

    return run


def begin(server: RedisServer, log_id: str = "one") -> None:
    """Write the stream's first entry."""
    server.ask("XADD", KEY, "0-1", "kind", "log", "value", log_id)


def write(server: RedisServer, number: int, **fields: Any) -> None:  # noqa: ANN401
    """Write a revocation."""
    pairs = [str(part) for pair in entry(**fields).items() for part in pair]
    server.ask("XADD", KEY, f"{number}-0", *pairs)


def values(told: list[Revocation]) -> list[str]:
    """Name what was revoked."""
    return [revocation.value for revocation in told]


class TestReading:
    """From the beginning, and then what is added."""

    async def test_everything_there_is_known_before_it_counts_as_read(
        self,
        server: RedisServer,
        log: RevocationLog,
        told: list[Revocation],
        follow: Follow,
        monkeypatch: pytest.MonkeyPatch,
    ) -> None:
        """In pages; the first moment of readiness knows the last entry."""
        monkeypatch.setattr(stream, "PAGE", 3)
        monkeypatch.setattr(stream, "_PAGE", b"3")
        begin(server)
        for number in range(1, 9):
            write(server, number, value=f"s{number}")

        async with follow():
            await until(lambda: log.ready)

            assert values(told) == [f"s{number}" for number in range(1, 9)]

    async def test_empty_log_is_read(
        self, server: RedisServer, log: RevocationLog, follow: Follow
    ) -> None:
        """It has only its name."""
        begin(server)

        async with follow():
            await until(lambda: log.ready)

        assert log.entries == 0

    async def test_what_is_added_is_known_at_once(
        self, server: RedisServer, log: RevocationLog, told: list[Revocation], follow: Follow
    ) -> None:
        """The reader waits in Redis, so it does not wait for its next look."""
        begin(server)
        async with follow():
            await until(lambda: log.ready)
            loop = asyncio.get_running_loop()
            began = loop.time()
            write(server, 7, kind="sub", value="alice", before=LATER - 9)
            await until(lambda: told)

            assert loop.time() - began < 1
        assert told == [Revocation(kind=told[0].kind, value="alice", before=LATER - 9, until=LATER)]

    async def test_silent_log_stays_fresh(
        self, server: RedisServer, log: RevocationLog, clock: Clock, follow: Follow
    ) -> None:
        """It is looked at even if nothing is added."""
        begin(server)
        async with follow():
            for _ in range(3):
                clock.now += STALE_SECONDS + 1
                await until(lambda: log.fresh)

    async def test_garbage_is_counted_and_passed_over(
        self, server: RedisServer, log: RevocationLog, told: list[Revocation], follow: Follow
    ) -> None:
        """Before and after the first look."""
        begin(server)
        server.ask("XADD", KEY, "1-0", "kind", "sid")
        server.ask("XADD", KEY, "2-0", b"\xff", b"\xff")
        write(server, 3, value="s3")
        async with follow():
            await until(lambda: log.ready)
            server.ask("XADD", KEY, "4-0", "x", "y")
            write(server, 5, value="s5")
            await until(lambda: len(told) == 2)

        assert values(told) == ["s3", "s5"]
        assert log.malformed == 3


class TestChange:
    """The stream is emptied, replaced, or loses its end."""

    @pytest.mark.parametrize("first", [None, ("0-2", "log"), ("0-1", "sid"), ("5-0", "sid")])
    async def test_stream_without_its_name_is_not_believed(
        self,
        server: RedisServer,
        log: RevocationLog,
        told: list[Revocation],
        follow: Follow,
        first: tuple[str, str] | None,
    ) -> None:
        """It has lost what it held; what is written anew counts."""
        if first is not None:
            server.ask("XADD", KEY, first[0], "kind", first[1], "value", "x")
        async with follow():
            await until(lambda: log._outage_logged)
            assert not log.readable
            server.ask("DEL", KEY)
            begin(server)
            write(server, 1, value="s1")
            await until(lambda: log.ready)

        assert values(told) == ["s1"]

    async def test_emptied_log_is_not_ready_until_it_is_written_anew(
        self, server: RedisServer, log: RevocationLog, told: list[Revocation], follow: Follow
    ) -> None:
        """Promise 2; nothing known is forgotten, nothing is told twice."""
        begin(server)
        write(server, 1, value="s1")
        async with follow():
            await until(lambda: log.ready)
            server.ask("FLUSHALL")
            await until(lambda: not log.ready)
            assert len(log) == 1

            begin(server)
            for number in (1, 2):
                write(server, number, value=f"s{number}")
            await until(lambda: log.ready)

        assert values(told) == ["s1", "s2"]

    async def test_lost_end_is_read_again(
        self, server: RedisServer, log: RevocationLog, told: list[Revocation], follow: Follow
    ) -> None:
        """A failover without the last entries: what takes their numbers is not overlooked."""
        begin(server)
        for number in (1, 2, 3):
            write(server, number, value=f"s{number}")
        async with follow():
            await until(lambda: log.ready)
            server.ask("DEL", KEY)
            begin(server)
            write(server, 1, value="s1")
            await until(lambda: log.entries == 4)
            write(server, 2, value="other")
            await until(lambda: len(told) == 4)
            await until(lambda: log.ready)

        assert values(told) == ["s1", "s2", "s3", "other"]
        assert len(log) == 4

    async def test_replaced_log_is_read_from_its_beginning(
        self, server: RedisServer, log: RevocationLog, told: list[Revocation], follow: Follow
    ) -> None:
        """Another database counts from 1 again; the rules of the old one stay."""
        begin(server, "one")
        write(server, 5, value="old")
        async with follow():
            await until(lambda: log.ready)
            server.ask("DEL", KEY)
            begin(server, "two")
            for number in (1, 9):
                write(server, number, value=f"new{number}")
            await until(lambda: len(told) == 3)
            await until(lambda: log.ready)

        assert sorted(values(told)) == ["new1", "new9", "old"]
        assert len(log) == 3

    async def test_removed_entries_end_nothing(
        self, server: RedisServer, log: RevocationLog, told: list[Revocation], follow: Follow
    ) -> None:
        """The issuer removes what has expired, also the last."""
        begin(server)
        for number in (1, 2, 3):
            write(server, number, value=f"s{number}")
        async with follow():
            await until(lambda: log.ready)
            server.ask("XDEL", KEY, "1-0", "3-0")
            write(server, 4, value="s4")
            await until(lambda: len(told) == 4)
            await until(lambda: log.ready)

        assert values(told) == ["s1", "s2", "s3", "s4"]


class TestOutage:
    """Redis is away, and comes back."""

    async def test_away_for_thirty_seconds(
        self,
        server: RedisServer,
        log: RevocationLog,
        told: list[Revocation],
        clock: Clock,
        follow: Follow,
    ) -> None:
        """Nothing is judged after the stale time; on the return everything counts at once."""
        begin(server)
        write(server, 1, value="s1")
        async with follow():
            await until(lambda: log.ready)
            server.kill()
            await until(lambda: not log.readable)
            clock.now += STALE_SECONDS
            await until(lambda: log.fresh)
            clock.now += 30 - STALE_SECONDS
            await until(lambda: not log.fresh)

            server.start()
            begin(server)
            for number in (1, 2):
                write(server, number, value=f"s{number}")
            await until(lambda: log.fresh)

            assert values(told) == ["s1", "s2"]

    async def test_reader_goes_on_from_where_it_was(
        self, server: RedisServer, log: RevocationLog, told: list[Revocation], follow: Follow
    ) -> None:
        """A lost connection is no lost log: the beginning is not read again."""
        begin(server)
        write(server, 1, value="s1")
        async with follow():
            await until(lambda: log.ready)
        write(server, 2, value="s2")
        log.lost("cut")
        async with follow():
            await until(lambda: log.readable)

        assert values(told) == ["s1", "s2"]
        assert log.entries == 2

    async def test_refusal_is_an_outage(
        self, server: RedisServer, log: RevocationLog, follow: Follow
    ) -> None:
        """The key is of another type, or the ACL does not allow it."""
        server.ask("SET", KEY, "x")
        async with follow():
            await until(lambda: log._outage_logged)
            server.ask("DEL", KEY)
            begin(server)
            await until(lambda: log.ready)

    async def test_no_connection_is_left(
        self, server: RedisServer, log: RevocationLog, follow: Follow
    ) -> None:
        """Each attempt has one, which goes with it."""
        async with follow():
            await until(lambda: log._outage_logged)
        await until(lambda: server.connections() == 0)

        begin(server)
        for _ in range(3):
            async with follow():
                await until(lambda: server.connections() == 1)
        await until(lambda: server.connections() == 0)
