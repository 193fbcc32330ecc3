"""Statements about clients."""

from __future__ import annotations

import dataclasses

import pytest

from auth_service.exceptions import ClientConflict
from auth_service.models import Client
from auth_service.store import clients
from auth_service.store.database import Database


async def test_a_client_is_stored_once(database: Database) -> None:
    """With all it has; a second one of the same id changes nothing."""
    client = Client(
        id="chat",
        secret_hash="a" * 64,
        grants=frozenset({"password"}),
        scopes=frozenset({"b", "a"}),
        disabled=False,
        created_at=1,
        name="Chat",
        previous_secret_hash="b" * 64,
        previous_secret_until=2,
        jwks="{}",
        redirect_uris=("https://one", "https://two"),
        tokens_after=3,
    )
    async with database.write() as connection:
        await clients.add(connection, client)
    with pytest.raises(ClientConflict):
        async with database.write() as connection:
            await clients.add(connection, dataclasses.replace(client, disabled=True))

    async with database.read() as connection:
        assert await clients.by_id(connection, "chat") == client
        assert await clients.by_id(connection, "other") is None
