"""Statements about signing keys."""

from __future__ import annotations

from auth_service.store import signing_keys
from auth_service.store.database import Database
from auth_service.store.signing_keys import StoredKey

FIRST = StoredKey(
    kid="first",
    algorithm="ES256",
    sealed=b"sealed",
    public_jwk="{}",
    created_at=1,
    activates_at=1,
)
SECOND = StoredKey(
    kid="another",
    algorithm="RS256",
    sealed=b"sealed too",
    public_jwk="{}",
    created_at=2,
    activates_at=20,
)


async def test_what_is_read_is_what_was_written(database: Database) -> None:
    """In the order of activation."""
    async with database.write() as connection:
        await signing_keys.lock(connection)
        await signing_keys.add(connection, SECOND)
        await signing_keys.add(connection, FIRST)

    async with database.read() as connection:
        assert await signing_keys.every(connection) == [FIRST, SECOND]


async def test_every_change_of_times_changes_the_version(database: Database) -> None:
    """So a reader knows from one small row whether to read them all."""
    seen = []
    async with database.write() as connection:
        seen.append(await signing_keys.version(connection))
        await signing_keys.add(connection, FIRST)
        seen.append(await signing_keys.version(connection))
        await signing_keys.set_times(connection, {"first": (2, None)})
        seen.append(await signing_keys.version(connection))
        await signing_keys.set_times(connection, {"first": (2, 9)})
        seen.append(await signing_keys.version(connection))
        await signing_keys.revoke(connection, "first", now=5)
        seen.append(await signing_keys.version(connection))
        (key,) = await signing_keys.every(connection)

    assert len(set(seen)) == 5
    assert (key.activates_at, key.removes_at, key.revoked_at) == (2, 9, 5)


async def test_resealing_changes_one_key_only(database: Database) -> None:
    """And nothing else of it."""
    async with database.write() as connection:
        await signing_keys.add(connection, FIRST)
        await signing_keys.add(connection, SECOND)
        await signing_keys.reseal(connection, "first", b"anew")
        first, second = await signing_keys.every(connection)

    assert (first.sealed, second) == (b"anew", SECOND)
