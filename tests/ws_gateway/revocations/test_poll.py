"""The long poll, against a real HTTP server that answers as the contract says."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager

import pytest

from tests.revocation_service import KEY, Service
from tests.ws_gateway.revocations.conftest import STALE_SECONDS, Clock, until
from ws_gateway.revocations import poll
from ws_gateway.revocations.deny_set import Revocation
from ws_gateway.revocations.follower import Follower
from ws_gateway.revocations.log import RevocationLog
from ws_gateway.revocations.poll import PollReader

Follow = Callable[[], AbstractAsyncContextManager[None]]


@pytest.fixture
async def service() -> AsyncIterator[Service]:
    """An issuer that is there."""
    service = Service()
    await service.start()
    yield service
    await service.stop()


@pytest.fixture
def follow(service: Service, log: RevocationLog) -> Follow:
    """Follow the log for a while, each time by the same reader."""
    url = f"http://127.0.0.1:{service.port}/revocations"
    reader = PollReader(url, key=KEY, stale_seconds=STALE_SECONDS)
    follower = Follower(log, reader, jitter=lambda: 0)

    @asynccontextmanager
    async def run() -> AsyncIterator[None]:
        task = asyncio.create_task(follower.run())
        try:
            yield
        finally:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)

    return run


def values(told: list[Revocation]) -> list[str]:
    """Name what was revoked."""
    return [revocation.value for revocation in told]


class TestReading:
    """From the beginning, and then what is added."""

    async def test_everything_there_is_known_before_it_counts_as_read(
        self, service: Service, log: RevocationLog, told: list[Revocation], follow: Follow
    ) -> None:
        """In pages, without waiting between them."""
        for number in range(1, 9):
            await service.add(number, value=f"s{number}")

        async with follow():
            await until(lambda: log.ready)

            assert values(told) == [f"s{number}" for number in range(1, 9)]
        assert [question["since"] for question in service.questions[:3]] == ["0", "3", "6"]
        assert {question["wait"] for question in service.questions[:3]} == {"0"}

    async def test_what_is_added_is_known_at_once(
        self, service: Service, log: RevocationLog, told: list[Revocation], follow: Follow
    ) -> None:
        """The answer to a question that waits."""
        async with follow():
            await until(lambda: log.ready and service.questions[-1]["wait"] == "5")
            await service.add(1, kind="jti", value="t", sub="alice")
            await until(lambda: told)
            await until(lambda: service.questions[-1]["since"] == "1")

        assert told[0].subject == "alice"
        assert service.questions[-1]["log"] == "one"

    @pytest.mark.parametrize(("stale", "wait"), [(2, "1"), (4.5, "2"), (10, "5"), (600, "5")])
    async def test_it_asks_more_often_than_the_log_becomes_stale(
        self, service: Service, log: RevocationLog, stale: float, wait: str
    ) -> None:
        """A whole second at least, so that it is not asked all the time."""
        reader = PollReader(f"http://127.0.0.1:{service.port}", key=KEY, stale_seconds=stale)
        task = asyncio.create_task(Follower(log, reader).run())

        await until(lambda: service.questions and service.questions[-1]["wait"] == wait)

        task.cancel()
        await asyncio.gather(task, return_exceptions=True)

    async def test_expired_end_is_not_waited_for(
        self, service: Service, log: RevocationLog, follow: Follow
    ) -> None:
        """The top counts what has been left out; the next answer, without entries, tells."""
        await service.add(1, value="s1")
        service.top = 9

        async with follow():
            await until(lambda: log.ready)

        assert service.questions[1]["wait"] == "0"

    async def test_garbage_is_counted_and_passed_over(
        self, service: Service, log: RevocationLog, told: list[Revocation], follow: Follow
    ) -> None:
        """One entry's fault is not the log's."""
        await service.add(1, kind="nonsense")
        await service.add(2, value="s2")

        async with follow():
            await until(lambda: log.ready)

        assert values(told) == ["s2"]
        assert log.malformed == 1


class TestChange:
    """The log is replaced, or has lost its end."""

    async def test_replaced_log_is_read_from_its_beginning(
        self, service: Service, log: RevocationLog, told: list[Revocation], follow: Follow
    ) -> None:
        """Also where it has more entries than one answer."""
        await service.add(5, value="old")
        async with follow():
            await until(lambda: log.ready)
            service.log, service.entries = "two", {}
            for number in range(1, 9):
                await service.add(number, value=f"new{number}")
            await until(lambda: len(told) == 9)
            await until(lambda: log.ready)

        assert set(values(told)) == {"old"} | {f"new{number}" for number in range(1, 9)}

    async def test_lost_end_is_read_again(
        self, service: Service, log: RevocationLog, told: list[Revocation], follow: Follow
    ) -> None:
        """A backup was restored: what takes the lost numbers is not overlooked."""
        for number in (1, 2, 3):
            await service.add(number, value=f"s{number}")
        async with follow():
            await until(lambda: log.ready)
            await service.replace("one")
            await service.add(1, value="s1")
            await service.add(2, value="other")
            await until(lambda: len(told) == 4)
            await until(lambda: log.ready)

        assert values(told)[-1] == "other"


class TestOutage:
    """The issuer is away, or answers what it should not."""

    async def test_away_for_thirty_seconds(
        self,
        service: Service,
        log: RevocationLog,
        told: list[Revocation],
        clock: Clock,
        follow: Follow,
    ) -> None:
        """On the return everything counts at once."""
        async with follow():
            await until(lambda: log.ready)
            await service.stop()
            await until(lambda: not log.readable)
            clock.now += 30
            assert not log.fresh

            await service.add(1, value="s1")
            await service.start()
            await until(lambda: log.fresh)

            assert values(told) == ["s1"]

    @pytest.mark.parametrize(
        ("status", "body"),
        [
            (401, b""),
            (404, b""),
            (500, b""),
            (302, b""),
            (200, b""),
            (200, b"[]"),
            (200, b'{"log":"","top":0,"entries":[]}'),
            (200, b'{"log":"x","top":-1,"entries":[]}'),
            (200, b'{"log":"x","top":1,"entries":[7]}'),
            (200, b'{"log":"x","top":1,"entries":[{"kind":"sid"}]}'),
            (200, b'{"log":"x","top":1,"entries":[{"seq":true}]}'),
            (200, b"\xff"),
            (200, b"[" * 5000),
        ],
    )
    async def test_other_answers_are_outages(
        self,
        *,
        service: Service,
        log: RevocationLog,
        follow: Follow,
        caplog: pytest.LogCaptureFixture,
        status: int,
        body: bytes,
    ) -> None:
        """One line each, without the key; and the end of it is seen."""
        service.status, service.raw = status, body
        async with follow():
            await until(lambda: len(service.questions) > 2)
            assert not log.ready
            service.status, service.raw = 200, None
            await until(lambda: log.ready)

        warnings = [record for record in caplog.records if record.levelno >= logging.WARNING]
        assert [record.message for record in warnings] == ["revocation log is not read"]
        assert KEY not in str([vars(record) for record in caplog.records])

    async def test_wrong_key_is_an_outage(self, service: Service, log: RevocationLog) -> None:
        """The issuer says 401."""
        reader = PollReader(f"http://127.0.0.1:{service.port}", key="x" * 32, stale_seconds=10)
        task = asyncio.create_task(Follower(log, reader).run())

        await until(lambda: len(service.questions) > 1)

        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        assert not log.readable

    async def test_endless_answer_is_cut(
        self,
        service: Service,
        log: RevocationLog,
        follow: Follow,
        monkeypatch: pytest.MonkeyPatch,
    ) -> None:
        """Whoever answers must not fill the memory."""
        monkeypatch.setattr(poll, "MAX_ANSWER_BYTES", 1000)
        service.raw = b" " * 2000
        async with follow():
            await until(lambda: log._outage_logged)

    async def test_silence_is_an_outage(
        self,
        service: Service,
        log: RevocationLog,
        follow: Follow,
        monkeypatch: pytest.MonkeyPatch,
    ) -> None:
        """A question that is never answered is given up."""
        monkeypatch.setattr(poll, "_ANSWER_SECONDS", 0.05)
        service.mute = True
        async with follow():
            await until(lambda: len(service.questions) > 2)
            service.mute = False
            await until(lambda: log.ready)

    async def test_issuer_that_does_not_wait_is_not_asked_all_the_time(
        self,
        service: Service,
        follow: Follow,
        monkeypatch: pytest.MonkeyPatch,
    ) -> None:
        """A pause after every answer without entries."""
        pauses: list[float] = []
        monkeypatch.setattr(poll, "_pause", lambda seconds: _note(pauses, seconds))
        service.raw = b'{"log":"x","top":0,"entries":[]}'

        async with follow():
            await until(lambda: len(pauses) >= 3)
            asked, paused = len(service.questions), len(pauses)

        assert set(pauses) == {poll._PAUSE_SECONDS}
        assert asked - paused in (0, 1)


async def _note(pauses: list[float], seconds: float) -> None:
    pauses.append(seconds)
    await asyncio.sleep(0)
