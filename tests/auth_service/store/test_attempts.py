"""Statements about attempts."""

from __future__ import annotations

import tempfile
from collections.abc import Sequence

from hypothesis import given, settings, strategies as st

from auth_service.store import attempts
from auth_service.store.attempts import Charge
from auth_service.store.database import Database
from auth_service.store.tables import METADATA

NOW = 1_900_000_000.0


class NaiveRate:
    """N at once and N in a minute, as a bucket that fills up: what GCRA computes with one number.

    Args:
        per_minute: N.
    """

    def __init__(self, per_minute: int) -> None:
        self._per_minute = per_minute
        self._left = float(per_minute)
        self._at = 0.0

    def take(self, at: float) -> bool:
        """Say whether an attempt at this moment is allowed."""
        refilled = self._left + (at - self._at) * self._per_minute / 60
        self._left, self._at = min(float(self._per_minute), refilled), at
        if self._left < 1 - 1e-6:
            return False
        self._left -= 1
        return True


async def _charge(database: Database, charges: Sequence[Charge], now: float) -> set[str]:
    async with database.write() as connection:
        return set(await attempts.charge(connection, charges, now=now))


@settings(max_examples=25, deadline=None)
@given(
    per_minute=st.sampled_from([1, 2, 3, 6, 10, 30, 60]),
    pauses=st.lists(st.sampled_from([0, 0, 0, 0.25, 1, 2, 7.5, 30, 61, 3600]), max_size=40),
)
async def test_gcra_allows_what_a_bucket_allows(per_minute: int, pauses: list[float]) -> None:
    """For any attempts at any times."""
    naive, at = NaiveRate(per_minute), 0.0
    with tempfile.TemporaryDirectory() as folder:
        database = Database(f"sqlite+aiosqlite:///{folder}/auth.db")
        await database.open()
        async with database.write() as connection:
            await connection.run_sync(METADATA.create_all)  # quicker than the migrations
        for pause in pauses:
            at += pause
            allowed = await _charge(database, [Charge("a", 60 / per_minute)], NOW + at)
            assert bool(allowed) == naive.take(at)
        await database.close()


async def test_each_key_has_its_own_rate(database: Database) -> None:
    """In one statement; what is refused is not among the answers."""
    both = [Charge("b", 60), Charge("a", 20)]

    assert await _charge(database, both, NOW) == {"a", "b"}
    assert await _charge(database, both, NOW) == {"a"}
    assert await _charge(database, both, NOW) == {"a"}
    assert await _charge(database, both, NOW) == set()
    assert await _charge(database, both, NOW + 20) == {"a"}


async def test_a_rate_of_nought_refuses_nothing(database: Database) -> None:
    """The row is there for its failures."""
    for _ in range(100):
        assert await _charge(database, [Charge("a", 0)], NOW) == {"a"}


async def test_a_clock_set_back_does_not_refuse_for_as_long(database: Database) -> None:
    """What was counted an hour ahead counts as nothing."""
    assert await _charge(database, [Charge("a", 60)], NOW + 3600) == {"a"}

    assert await _charge(database, [Charge("a", 60)], NOW) == {"a"}
    assert await _charge(database, [Charge("a", 60)], NOW) == set()


async def test_failures_add_up_until_they_expire(database: Database) -> None:
    """Then the next one is the first, and a charge finds none, though nobody removed the row."""
    for expected in (1, 2, 3):
        async with database.write() as connection:
            counted = await attempts.fail(
                connection, ["a", "b"], now=NOW, expires_at=int(NOW) + 1000
            )
        assert counted == {"a": expected, "b": expected}
    async with database.write() as connection:
        await attempts.lock(connection, {"a": int(NOW) + 7})
        before = await attempts.charge(connection, [Charge("a", 1)], now=NOW)
        found = await attempts.charge(connection, [Charge("a", 1)], now=NOW + 1000)
        counted = await attempts.fail(connection, ["b"], now=NOW + 1000, expires_at=int(NOW) + 2000)

    assert (before["a"].failures, before["a"].locked_until) == (3, int(NOW) + 7)
    assert (found["a"].failures, found["a"].locked_until) == (0, 0)
    assert counted == {"b": 1}


async def test_forgiving_keeps_the_rate_and_removing_keeps_nothing(database: Database) -> None:
    """A success frees nobody from the rate."""
    assert await _charge(database, [Charge("a", 60)], NOW) == {"a"}
    async with database.write() as connection:
        await attempts.fail(connection, ["a"], now=NOW, expires_at=int(NOW) + 1000)
        await attempts.lock(connection, {"a": int(NOW) + 100}, expires_at=int(NOW) + 2000)
        await attempts.forgive(connection, ["a", "none"])
        (standing,) = (await attempts.standings(connection, ["a", "none"])).values()
    assert (standing.failures, standing.locked_until) == (0, 0)
    assert await _charge(database, [Charge("a", 60)], NOW) == set()

    async with database.write() as connection:
        assert await attempts.remove(connection, ["a"])
        assert not await attempts.remove(connection, ["a"])
    assert await _charge(database, [Charge("a", 60)], NOW) == {"a"}


async def test_what_is_remembered_is_known_until_its_time(database: Database) -> None:
    """Remembering again moves it on."""
    async with database.write() as connection:
        await attempts.remember(connection, "a", now=NOW, expires_at=int(NOW) + 10)
        assert await attempts.is_known(connection, "a", now=NOW + 9)
        assert not await attempts.is_known(connection, "a", now=NOW + 10)
        assert not await attempts.is_known(connection, "b", now=NOW)
        await attempts.remember(connection, "a", now=NOW, expires_at=int(NOW) + 20)
        assert await attempts.is_known(connection, "a", now=NOW + 10)
