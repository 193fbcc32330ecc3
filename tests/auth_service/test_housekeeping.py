"""Housekeeping: it comes again and again, whatever happens."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from auth_service import housekeeping
from auth_service.exceptions import StoreUnavailable
from auth_service.housekeeping import PERIOD_SECONDS, Housekeeping
from auth_service.store.database import Database
from auth_service.store.prune import Retention


class Clockwork:
    """Lets a task run a number of rounds, and then waits for ever."""

    def __init__(self, rounds: int) -> None:
        self.waits: list[float] = []
        self.done = asyncio.Event()
        self._rounds = rounds

    async def sleep(self, seconds: float) -> None:
        """Remember the wait."""
        self.waits.append(seconds)
        if len(self.waits) > self._rounds:
            self.done.set()
            await asyncio.Event().wait()


async def test_it_goes_on_after_a_failure(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A lost database, and a mistake of ours, are for once only."""
    clockwork = Clockwork(3)
    answers: list[Exception | None] = [StoreUnavailable(), RuntimeError(), None]
    seen: list[int] = []

    async def prune(_database: Database, *, now: int, retention: Retention) -> dict[str, int]:
        seen.append(now)
        assert retention.audit_days == 7
        answer = answers.pop(0)
        if answer is not None:
            raise answer
        return {"sessions": 3}

    monkeypatch.setattr(housekeeping, "prune", prune)
    database = Database(f"sqlite+aiosqlite:///{tmp_path}/auth.db")
    kept = Housekeeping(
        database=database,
        retention=Retention(audit_days=7),
        clock=lambda: 12.5,
        sleep=clockwork.sleep,
    )

    kept.start()
    await clockwork.done.wait()
    await kept.close()

    assert seen == [12, 12, 12]
    assert all(0.5 <= wait / PERIOD_SECONDS <= 1.5 for wait in clockwork.waits)
    assert len(set(clockwork.waits)) > 1
    await database.close()
