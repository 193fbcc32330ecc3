"""Clients that are remembered for a moment, and how soon a change counts."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator

import pytest

from auth_service.models import Client
from auth_service.recent_clients import SECONDS, RecentClients
from auth_service.store import clients
from auth_service.store.database import Database
from tests.databases import BOTH_DATABASES, open_migrated

CHAT = Client("chat", None, frozenset({"password"}), frozenset({"connect"}), False, 1)


class World:
    """Two processes, as it were, that use one database."""

    def __init__(self, here: Database, elsewhere: Database) -> None:
        self.here = here
        self.elsewhere = elsewhere
        self.now = 0.0
        self.recent = RecentClients(database=here, monotonic=lambda: self.now)

    async def disable(self, database: Database) -> None:
        """Refuse the client."""
        async with database.write() as connection:
            await clients.set_disabled(connection, "chat", disabled=True)

    async def disabled(self) -> bool:
        """Say what is thought of the client."""
        client = await self.recent.find("chat")
        assert client is not None
        return client.disabled


@pytest.fixture
async def world(database_url: str) -> AsyncIterator[World]:
    """A database with one client."""
    here, elsewhere = await open_migrated(database_url), Database(database_url)
    async with here.write() as connection:
        await clients.add(connection, CHAT)
    yield World(here, elsewhere)
    await elsewhere.close()
    await here.close()


@BOTH_DATABASES
async def test_finds_what_is_stored(world: World) -> None:
    """A remembered client is the one that is stored; one that is not there is none."""
    assert [await world.recent.find("chat") for _ in range(2)] == [CHAT, CHAT]
    assert await world.recent.find("nobody") is None


async def test_change_of_ones_own_counts_at_once(world: World) -> None:
    """A disabled client stops in the process that disabled it."""
    assert not await world.disabled()
    await world.disable(world.here)
    assert await world.disabled()


async def test_change_elsewhere_counts_soon(world: World) -> None:
    """Until then it is not asked for again."""
    assert not await world.disabled()
    await world.disable(world.elsewhere)
    world.now = SECONDS - 0.01
    assert not await world.disabled()
    world.now = SECONDS
    assert await world.disabled()


async def test_what_was_read_before_a_change_is_not_remembered_after_it(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The answer to a question that a change overtook is given once only."""
    ask = world.here.row

    async def overtaken(*arguments: object, **values: object) -> object:
        row = await ask(*arguments, **values)  # type: ignore[arg-type]
        await world.disable(world.here)
        return row

    monkeypatch.setattr(world.here, "row", overtaken)
    assert not await world.disabled()
    monkeypatch.undo()
    assert await world.disabled()


async def test_a_rolled_back_change_forgets_nothing(world: World) -> None:
    """Whoever fails to change a client leaves what is remembered alone."""
    assert not await world.disabled()
    with contextlib.suppress(ZeroDivisionError):
        async with world.here.write() as connection:
            await clients.set_disabled(connection, "chat", disabled=True)
            raise ZeroDivisionError
    await world.disable(world.elsewhere)
    assert not await world.disabled()


async def test_remembers_a_bounded_number(world: World) -> None:
    """The oldest is asked for again; names that nobody has are not remembered at all."""
    async with world.here.write() as connection:
        for number in range(1_024):
            await clients.add(
                connection, Client(f"c{number}", None, CHAT.grants, CHAT.scopes, False, 1)
            )
    assert not await world.disabled()
    for number in range(1_024):
        await world.recent.find(f"c{number}")
    await world.disable(world.elsewhere)
    assert await world.disabled()
