"""Signing keys in the database, from their making to their end, on a clock moved by hand."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from auth_service import private_files, rotation as module
from auth_service.exceptions import ConfigurationError, InvalidToken, KeyRefused, StoreUnavailable
from auth_service.keys import new_pem
from auth_service.rotation import LEAD_SECONDS, RETENTION_SECONDS, KeyRotation
from auth_service.sealing import SecretKeys
from auth_service.store import revocations
from auth_service.store.database import Database
from auth_service.store.tables import AUDIT_EVENTS, SIGNING_KEYS
from auth_service.tokens import AccessTokens
from tests.databases import BOTH_DATABASES, open_migrated

pytestmark = BOTH_DATABASES

OLD, NEW = bytes(32), bytes([1]) * 32


class World:
    """One database and as many processes as wanted.

    Args:
        database: Open.
        directory: Of key files.
    """

    def __init__(self, database: Database, directory: Path) -> None:
        self.database = database
        self.directory = directory
        self.now = 1_900_000_000
        self._started: list[KeyRotation] = []

    async def process(
        self, *sealing_keys: bytes, algorithm: str = "ES256", url: Database | None = None
    ) -> KeyRotation:
        """Start one."""
        process = KeyRotation(
            database=url or self.database,
            secrets=SecretKeys(sealing_keys or [OLD]),
            directory=self.directory,
            algorithm=algorithm,
            clock=lambda: self.now,
        )
        await process.open()
        self._started.append(process)
        return process

    def tokens(self, process: KeyRotation) -> AccessTokens:
        """Return the mint of a process."""
        return AccessTokens(
            keys=process, issuer="https://auth.example", audience="a", lifetime_seconds=3600
        )

    def mint(self, process: KeyRotation) -> str:
        """Make a token."""
        made = self.tokens(process).mint(
            sub="u", client_id="c", scopes=["connect"], sid="s", now=self.now
        )
        return made.text

    def kids(self, process: KeyRotation) -> tuple[str, set[str]]:
        """Return which key signs and which are published."""
        ring = process.at(self.now)
        return ring.signing.kid, set(ring.by_kid)

    async def events(self) -> list[str]:
        """Return what the audit tells."""
        async with self.database.read() as connection:
            rows = await connection.execute(AUDIT_EVENTS.select().order_by(AUDIT_EVENTS.c.id))
            return [row.event for row in rows]

    async def close(self) -> None:
        """End all processes."""
        for process in self._started:
            await process.close()


@pytest.fixture
async def world(tmp_path: Path, database_url: str) -> AsyncIterator[World]:
    """An empty database and no key files."""
    database = await open_migrated(database_url)
    opened = World(database, tmp_path / "keys")
    yield opened
    await opened.close()
    await database.close()


async def _states(process: KeyRotation) -> list[str]:
    return [state for _, state in await process.states()]


async def test_processes_that_start_together_make_one_key(world: World, database_url: str) -> None:
    """Each with a connection of its own, as workers and pods have."""
    others = [Database(database_url) for _ in range(4)]

    started = await asyncio.gather(*(world.process(url=other) for other in others))

    assert len({world.kids(process)[0] for process in started}) == 1
    assert await _states(started[0]) == ["active"]
    assert await world.events() == ["key_made"]
    await world.close()
    for other in others:
        await other.close()


async def test_a_key_goes_through_its_states_by_the_clock_alone(world: World) -> None:
    """Pending, active, retired, removed; in every process at the same moment."""
    one, other = await world.process(), await world.process()
    first, _ = world.kids(one)

    made = await one.rotate()
    await other.reload()

    both = {first, made.kid}
    for process in (one, other):
        assert world.kids(process) == (first, both)
    assert await _states(one) == ["active", "pending"]
    world.now += LEAD_SECONDS - 1
    assert world.kids(one) == world.kids(other) == (first, both)
    world.now += 1
    assert world.kids(one) == world.kids(other) == (made.kid, both)
    assert await _states(one) == ["retired", "active"]
    world.now += RETENTION_SECONDS - 1
    assert world.kids(one) == world.kids(other) == (made.kid, both)
    world.now += 1
    assert world.kids(one) == world.kids(other) == (made.kid, {made.kid})
    assert await _states(one) == ["removed", "active"]
    assert world.kids(await world.process()) == (made.kid, {made.kid})
    assert await world.events() == ["key_made", "key_rotated"]


async def test_a_retired_key_verifies_and_a_removed_one_does_not(world: World) -> None:
    """J23: with a token that would otherwise be good."""
    process = await world.process()
    await process.rotate()
    world.now += LEAD_SECONDS - 1
    token = world.mint(process)
    tokens = world.tokens(process)
    world.now += 1

    assert tokens.read(token, now=world.now).sub == "u"
    pending_kid = (await process.rotate()).kid
    assert world.kids(process)[0] != pending_kid
    with pytest.raises(InvalidToken, match="kid"):
        tokens.read(token, now=world.now + RETENTION_SECONDS)


async def test_one_key_is_pending_at_most(world: World) -> None:
    """Its order stands; at once means that one."""
    process = await world.process()
    pending = await process.rotate()

    with pytest.raises(KeyRefused, match=pending.kid):
        await process.rotate()

    begun = await process.rotate(at_once=True)
    assert begun.kid == pending.kid == world.kids(process)[0]
    assert await _states(process) == ["retired", "active"]


async def test_at_once_makes_a_key_that_signs(world: World) -> None:
    """The one before it verifies on."""
    process = await world.process()
    first, _ = world.kids(process)

    made = await process.rotate(at_once=True)

    assert world.kids(process) == (made.kid, {first, made.kid})


async def test_both_algorithms_are_published_side_by_side(world: World) -> None:
    """The setting decides about new keys only."""
    old = await world.process()
    new = await world.process(algorithm="RS256")
    assert world.kids(new)[0] == world.kids(old)[0]

    await new.rotate()
    world.now += LEAD_SECONDS

    ring = new.at(world.now)
    assert ring.signing.algorithm == "RS256"
    assert {key.algorithm for key in ring.by_kid.values()} == {"ES256", "RS256"}
    assert world.tokens(new).read(world.mint(new), now=world.now).sub == "u"


async def test_revoking_the_active_key_puts_another_in_its_place(world: World) -> None:
    """And tells the gateways, for as long as a token of it could live."""
    process = await world.process()
    first, _ = world.kids(process)
    token = world.mint(process)

    await process.revoke(first)

    signing, published = world.kids(process)
    assert signing != first
    assert published == {signing}
    assert sorted(await _states(process)) == ["active", "revoked"]
    with pytest.raises(InvalidToken, match="kid"):
        world.tokens(process).read(token, now=world.now)
    async with world.database.read() as connection:
        ((_, entry),) = await revocations.after(connection, 0, now=world.now, limit=9)
    assert (entry.kind, entry.value, entry.before, entry.reason) == ("kid", first, 0, "key_revoked")
    assert entry.until >= world.now + 3600
    assert await world.events() == ["key_made", "key_revoked"]


async def test_revoking_the_active_key_lets_the_pending_one_begin(world: World) -> None:
    """Gateways know that one already."""
    process = await world.process()
    first, _ = world.kids(process)
    pending = await process.rotate()

    await process.revoke(first)

    assert world.kids(process) == (pending.kid, {pending.kid})


async def test_revoking_the_pending_key_leaves_the_active_one_for_good(world: World) -> None:
    """It has no successor any more, so it must not be removed as if it had."""
    process = await world.process()
    first, _ = world.kids(process)
    pending = await process.rotate()

    await process.revoke(pending.kid)
    world.now += LEAD_SECONDS + RETENTION_SECONDS

    assert world.kids(await world.process()) == (first, {first})
    assert await _states(process) == ["active", "revoked"]


async def test_revoking_a_retired_key_changes_nothing_else(world: World) -> None:
    """The others go on as they were."""
    process = await world.process()
    first, _ = world.kids(process)
    made = await process.rotate(at_once=True)

    await process.revoke(first)

    assert world.kids(process) == (made.kid, {made.kid})
    for kid in (first, "unknown"):
        with pytest.raises(KeyRefused, match="no such key"):
            await process.revoke(kid)


async def test_resealing_lets_the_old_sealing_key_go(world: World) -> None:
    """And only then."""
    kid, _ = world.kids(await world.process(OLD))
    both = await world.process(NEW, OLD)
    with pytest.raises(ConfigurationError, match=r"^AUTH_SEALING_KEYS: none of the keys opens"):
        await world.process(NEW)

    assert await both.reseal() == 1
    assert await both.reseal() == 0

    assert world.kids(await world.process(NEW))[0] == kid


async def test_private_keys_are_stored_sealed(world: World) -> None:
    """And bound to their row."""
    process = await world.process()
    await process.rotate()
    async with world.database.write() as connection:
        first, second = (await connection.execute(SIGNING_KEYS.select())).all()
        for row in (first, second):
            assert b"PRIVATE" not in row.sealed
            assert '"d"' not in row.public_jwk
        await connection.execute(
            SIGNING_KEYS.update()
            .where(SIGNING_KEYS.c.kid == first.kid)
            .values(sealed=second.sealed)
        )

    with pytest.raises(ConfigurationError, match="belongs elsewhere"):
        await world.process()


async def test_key_files_are_taken_over_once(world: World) -> None:
    """Nobody is logged out by the new version."""
    private_files.make_directory(world.directory)
    private_files.create(world.directory / "signing-es256.pem", new_pem("ES256"))
    private_files.create(world.directory / "signing-rs256.pem", new_pem("RS256"))
    process = await world.process()
    kid, published = world.kids(process)

    assert process.at(world.now).signing.algorithm == "ES256"
    assert len(published) == 2
    assert await _states(process) == ["retired", "active"]
    assert await world.events() == ["key_imported"]

    for file in world.directory.iterdir():
        file.unlink()
    private_files.create(world.directory / "signing-es256.pem", new_pem("ES256"))
    assert world.kids(await world.process()) == (kid, published)
    world.now += RETENTION_SECONDS
    assert world.kids(process) == (kid, {kid})


async def test_a_key_file_open_to_others_stops_the_start(world: World) -> None:
    """It is taken over in no case."""
    private_files.make_directory(world.directory)
    path = world.directory / "signing-es256.pem"
    private_files.create(path, new_pem("ES256"))
    path.chmod(0o644)

    with pytest.raises(ConfigurationError, match=r"^AUTH_KEYS_DIR: .*must be readable"):
        await world.process()


async def test_a_clock_that_is_behind_still_signs(world: World) -> None:
    """With the first key there is."""
    process = await world.process()
    kid, _ = world.kids(process)
    world.now -= 3600

    assert world.kids(process)[0] == kid


async def test_changes_are_followed_and_troubles_survived(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A process that nobody told anything has the new key by itself."""
    monkeypatch.setattr(module, "RELOAD_SECONDS", 0.001)
    one, other = await world.process(), await world.process()
    troubles: list[Exception] = [StoreUnavailable(), ValueError()]
    reload = other.reload
    reloaded = asyncio.Event()

    async def fail_at_first() -> None:
        if troubles:
            raise troubles.pop()
        await reload()
        reloaded.set()

    monkeypatch.setattr(other, "reload", fail_at_first)
    made = await one.rotate()
    async with asyncio.timeout(10):
        while made.kid not in world.kids(other)[1]:
            reloaded.clear()
            await reloaded.wait()

    assert troubles == []


def test_the_lead_outlasts_every_copy_of_the_key_set() -> None:
    """The arithmetic of publish-before-use, with the gateway's own figures."""
    assert LEAD_SECONDS >= 300 + 10 + module.RELOAD_SECONDS
    assert RETENTION_SECONDS >= 3600 + 5 + 300
