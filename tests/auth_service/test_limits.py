"""Limits of attempts and locks, over two services on one database."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from auth_service.exceptions import TooManyAttempts
from auth_service.limits import (
    DAY_SECONDS,
    KNOWN_SECONDS,
    MAX_FAILURES,
    Attempt,
    Kind,
    LimitRules,
    Limits,
)
from auth_service.metrics import Metrics
from auth_service.sealing import SecretKeys
from auth_service.store import attempts
from auth_service.store.database import Database
from auth_service.store.tables import ATTEMPTS
from tests.databases import BOTH_DATABASES, open_migrated

pytestmark = BOTH_DATABASES

RULES = LimitRules(
    everywhere=1000,
    address=60,
    account=30,
    client=3,
    user_code=2,
    device=0,
    lockout_failures=3,
    lockout_seconds=16,
)
HOME, OFFICE = "192.0.2.1", "198.51.100.7"


class Clock:
    """A clock that is moved by hand."""

    def __init__(self) -> None:
        self.now = 1_900_000_000.0

    def __call__(self) -> float:
        """Return the time."""
        return self.now


class World:
    """One database and as many processes as wanted.

    Args:
        database: Open.
    """

    def __init__(self, database: Database) -> None:
        self.database = database
        self.clock = Clock()
        self.metrics = Metrics()
        self.limits = self.process()

    def process(self, rules: LimitRules = RULES) -> Limits:
        """Start one more process."""
        return Limits(
            database=self.database,
            secrets=SecretKeys([bytes(32)]),
            rules=rules,
            metrics=self.metrics,
            clock=self.clock,
        )

    async def fail(self, address: str, account: str = "alice") -> int:
        """Log in with a wrong password; returns for how long that locks."""
        attempt = await self.limits.begin_login(account, address)
        async with self.database.write() as connection:
            return await self.limits.failed(connection, attempt)

    async def succeed(self, address: str, account: str = "alice") -> Attempt:
        """Log in."""
        attempt = await self.limits.begin_login(account, address)
        async with self.database.write() as connection:
            await self.limits.succeeded(connection, attempt, account=account, address=address)
        return attempt

    async def refusal(self, address: str, account: str = "alice") -> int:
        """Return the seconds of Retry-After of a login that is refused."""
        with pytest.raises(TooManyAttempts) as refused:
            await self.limits.begin_login(account, address)
        assert refused.value.status == 429
        return int(refused.value.headers["Retry-After"])

    def refused(self, kind: str) -> float:
        """Return how often a limit refused."""
        value = self.metrics.registry.get_sample_value("auth_rate_limited_total", {"kind": kind})
        return value or 0.0


@pytest.fixture
async def world(database_url: str) -> AsyncIterator[World]:
    """An empty database."""
    database = await open_migrated(database_url)
    yield World(database)
    await database.close()


async def test_one_address_gets_its_rate_over_all_accounts_and_processes(world: World) -> None:
    """O8: spraying, and limits summed over the workers."""
    processes = [world.limits, world.process(), world.process(), world.process()]
    for number in range(60):
        await processes[number % 4].begin_login(f"user-{number}", HOME)

    for process in processes:
        with pytest.raises(TooManyAttempts):
            await process.begin_login("user-61", HOME)

    await world.limits.begin_login("user-61", OFFICE)
    world.clock.now += 1
    await world.limits.begin_login("user-62", HOME)
    assert world.refused("address") == 4


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [
        ("2001:db8:1:2::1", "2001:db8:1:2:ffff::9", True),
        ("2001:db8:1:2::1", "2001:db8:1:3::1", False),
        ("::ffff:192.0.2.1", "192.0.2.1", True),
        ("192.0.2.1", "192.0.2.2", False),
        ("testclient", "testclient", True),
    ],
)
async def test_a_network_of_64_bits_is_one_address(
    world: World, one: str, other: str, same: bool
) -> None:
    """A customer has 2 to the 64 of them."""
    for number in range(60):
        await world.limits.begin_login(f"user-{number}", one)

    if same:
        assert await world.refusal(other, "somebody") == 1
    else:
        await world.limits.begin_login("somebody", other)


async def test_everybody_together_has_a_rate(world: World) -> None:
    """And a refused attempt takes nothing from it."""
    world.limits = world.process(
        LimitRules(
            everywhere=5,
            address=2,
            account=2,
            client=0,
            user_code=0,
            device=0,
            lockout_failures=3,
            lockout_seconds=16,
        )
    )
    for number in range(10):
        world.clock.now += 1.01 if number == 2 else 0
        if number < 2:
            await world.limits.begin_login(f"user-{number}", HOME)
        else:
            await world.refusal(HOME, f"user-{number}")
    for number in range(3):
        await world.limits.begin_login(f"other-{number}", f"192.0.2.{10 + number}")

    assert await world.refusal("192.0.2.99", "last") == 11
    assert world.refused("global") == 1


async def test_failures_lock_for_twice_as_long_each_time(world: World) -> None:
    """Up to the longest; the answer says how long."""
    locks = []
    for _ in range(9):
        seconds = await world.fail(HOME)
        locks.append(seconds)
        if seconds:
            assert await world.refusal(HOME) == seconds
        world.clock.now += max(seconds, 1)

    assert locks == [0, 0, 1, 2, 4, 8, 16, 16, 16]


async def test_an_account_locks_for_a_hundred_addresses(world: World) -> None:
    """O8: they share its failures, over all processes."""
    other = world.process()
    for number in range(3):
        await world.fail(f"198.51.100.{number}")
        world.limits, other = other, world.limits

    assert await world.refusal("198.51.100.99") == 1
    await world.limits.begin_login("bob", "198.51.100.99")


async def test_a_locked_out_user_is_let_in_at_home(world: World) -> None:
    """O8, O9: where he logged in before, an attack from elsewhere does not count."""
    await world.succeed(HOME)
    for _ in range(8):
        world.clock.now += await world.fail(OFFICE)
    assert await world.fail(OFFICE) == 16

    attempt = await world.succeed(HOME)

    assert attempt.known
    assert await world.refusal(OFFICE) == 16
    assert await world.refusal("203.0.113.5") == 16
    for _ in range(3):
        await world.fail(HOME)
    assert await world.refusal(HOME) == 1


async def test_a_used_up_rate_of_an_account_does_not_count_at_home(world: World) -> None:
    """The same for attempts that never failed, because they were too many at once."""
    await world.succeed(HOME)
    for number in range(29):
        await world.limits.begin_login("alice", f"198.51.100.{number}")
    await world.refusal(OFFICE)

    assert (await world.succeed(HOME)).known


async def test_home_is_forgotten_after_a_month(world: World) -> None:
    """Then the account's lock counts there too."""
    await world.succeed(HOME)
    world.clock.now += KNOWN_SECONDS + 1
    for _ in range(3):
        await world.fail(OFFICE)

    assert await world.refusal(HOME) == 1


async def test_a_success_forgets_the_failures_that_it_passed(world: World) -> None:
    """Two wrong, one right, two wrong: no lock."""
    for _ in range(3):
        assert [await world.fail(HOME), await world.fail(HOME)] == [0, 0]
        assert (await world.succeed(HOME)).failed_before


async def test_a_success_with_nothing_to_forget_writes_nothing(world: World) -> None:
    """From the second one on."""
    await world.succeed(HOME)
    attempt = await world.limits.begin_login("alice", HOME)
    assert not attempt.failed_before

    async with world.database.read() as connection:
        before = (await connection.execute(ATTEMPTS.select())).all()
        await world.limits.succeeded(connection, attempt, account="alice", address=HOME)
        assert (await connection.execute(ATTEMPTS.select())).all() == before


async def test_there_are_never_a_hundred_failures_in_a_row(world: World) -> None:
    """NIST SP 800-63B: whoever has all the time and all the addresses."""
    failures, begin = 0, world.clock.now
    while True:
        seconds = await world.fail(f"10.0.{failures}.1")
        failures += 1
        if seconds == DAY_SECONDS:
            break
        world.clock.now += max(seconds, 1)

    assert failures == MAX_FAILURES
    assert failures + RULES.account <= 100
    assert world.clock.now - begin > 60 * 16
    assert await world.refusal("10.1.0.1") == DAY_SECONDS
    world.clock.now += DAY_SECONDS + 1
    assert await world.fail("10.1.0.1") == 0


async def test_a_day_without_failure_forgets(world: World) -> None:
    """Temporary, never for good."""
    await world.fail(HOME)
    await world.fail(HOME)
    world.clock.now += DAY_SECONDS + 1

    assert await world.fail(HOME) == 0


async def test_an_operator_unlocks_an_account(world: World) -> None:
    """For everybody who did not fail himself."""
    for _ in range(3):
        await world.fail(OFFICE)
    async with world.database.write() as connection:
        assert await world.limits.clear(connection, "alice")
        assert not await world.limits.clear(connection, "alice")

    await world.limits.begin_login("alice", HOME)


async def test_a_repeated_refusal_asks_no_database(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A flood costs next to nothing, and hears the same."""
    for _ in range(5):
        world.clock.now += await world.fail(OFFICE)
    assert await world.fail(OFFICE) == 8
    assert await world.refusal(OFFICE) == 8

    async def charge(*_: object, **__: object) -> None:
        raise AssertionError

    with monkeypatch.context() as patched:
        patched.setattr(attempts, "charge", charge)
        assert await world.refusal(OFFICE) == 8
    world.clock.now += 1
    assert await world.refusal(OFFICE) == 7
    assert len(world.limits._repeats) == 1


async def test_a_clock_set_back_does_not_prolong_a_refusal(world: World) -> None:
    """What a process repeats by itself it repeats for a second, and not until the old time."""
    for _ in range(RULES.client):
        await world.limits.check("client", "bot", OFFICE)
    with pytest.raises(TooManyAttempts):
        await world.limits.check("client", "bot", OFFICE)

    world.clock.now -= 3600

    await world.limits.check("client", "bot", OFFICE)


@pytest.mark.parametrize(("kind", "allowed"), [("client", 3), ("user_code", 2)])
async def test_other_kinds_have_their_own_rates(world: World, kind: Kind, allowed: int) -> None:
    """Per whom, over all processes."""
    for _ in range(allowed):
        await world.limits.check(kind, "shop", HOME)

    for process in (world.limits, world.limits, world.process()):
        with pytest.raises(TooManyAttempts):
            await process.check(kind, "shop", HOME)
    await world.limits.check(kind, "shop", OFFICE)
    await world.limits.check(kind, "sho", "p" + HOME)
    assert world.refused(kind) == 3


async def test_nought_is_no_limit(world: World) -> None:
    """And costs no statement."""
    for _ in range(100):
        await world.limits.check("device", "shop")

    async with world.database.read() as connection:
        assert (await connection.execute(ATTEMPTS.select())).all() == []


async def test_neither_name_nor_address_is_stored(world: World) -> None:
    """Keys are hashes under a secret: another secret, other keys."""
    await world.fail(HOME)
    async with world.database.read() as connection:
        rows = (await connection.execute(ATTEMPTS.select())).all()

    stranger = Limits(
        database=world.database,
        secrets=SecretKeys([bytes([1]) * 32]),
        rules=RULES,
        metrics=world.metrics,
        clock=world.clock,
    )
    keys = {row.key for row in rows}
    assert len(keys) == 4
    assert all(len(key) == 64 for key in keys)
    assert stranger._hash("account", "alice") not in keys


async def test_a_network_of_ipv6_is_one_address_for_other_kinds_too(world: World) -> None:
    """Else 2^64 addresses would try user codes at once."""
    for end in ("1", "2"):
        await world.limits.check("user_code", f"2001:db8::{end}")

    with pytest.raises(TooManyAttempts):
        await world.limits.check("user_code", "2001:db8::3")
