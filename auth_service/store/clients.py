"""Statements about clients."""

from __future__ import annotations

from collections.abc import Iterable
from types import SimpleNamespace
from typing import Any

from sqlalchemy import Row, bindparam, exists, insert, select, update
from sqlalchemy.exc import IntegrityError
from sqlalchemy.ext.asyncio import AsyncConnection

from auth_service.exceptions import ClientConflict
from auth_service.models import Client
from auth_service.store.prepared import Prepared
from auth_service.store.tables import CLIENTS

#: Of a connection's ``info``: whether its transaction has changed clients.
CHANGED = "drawbridge-clients-changed"
BY_ID = Prepared(select(CLIENTS).where(CLIENTS.c.client_id == bindparam("client_id")))
_COLUMNS = tuple(CLIENTS.c.keys())


async def by_id(
    connection: AsyncConnection, client_id: str, *, lock: bool = False
) -> Client | None:
    """Find a client by its id.

    Args:
        connection: From `Database.read` or, with ``lock``, from `Database.write`.
        client_id: Which.
        lock: Keep it as it is, for others, until the transaction ends.
    """
    statement = select(CLIENTS).where(CLIENTS.c.client_id == client_id)
    if lock:
        statement = statement.with_for_update()
    row = (await connection.execute(statement)).first()
    return None if row is None else _client(row)


async def every(connection: AsyncConnection) -> list[Client]:
    """Return all clients, by id."""
    rows = await connection.execute(select(CLIENTS).order_by(CLIENTS.c.client_id))
    return [_client(row) for row in rows]


async def any_with_grant(connection: AsyncConnection, grant: str) -> bool:
    """Say whether any enabled client may use a grant type whose name is in no other's."""
    wanted = exists().where(CLIENTS.c.grants.contains(grant), CLIENTS.c.disabled.is_(False))
    return bool(await connection.scalar(select(wanted)))


async def add(connection: AsyncConnection, client: Client) -> None:
    """Store a new client.

    Raises:
        ClientConflict: One of its id exists, which is left alone. The transaction is spoilt then.
    """
    connection.info[CHANGED] = True
    try:
        await connection.execute(insert(CLIENTS).values(_row(client)))
    except IntegrityError:
        raise ClientConflict("a client of this id exists already") from None


async def replace(connection: AsyncConnection, client: Client) -> None:
    """Store what was changed about a client; see `by_id` for the lock."""
    connection.info[CHANGED] = True
    await connection.execute(
        update(CLIENTS).where(CLIENTS.c.client_id == client.id).values(_row(client))
    )


def _row(client: Client) -> dict[str, object]:
    return {
        "client_id": client.id,
        "name": client.name,
        "secret_hash": client.secret_hash,
        "previous_secret_hash": client.previous_secret_hash,
        "previous_secret_until": client.previous_secret_until,
        "jwks": client.jwks,
        "grants": " ".join(sorted(client.grants)),
        "scope": " ".join(sorted(client.scopes)),
        "redirect_uris": " ".join(client.redirect_uris),
        "disabled": client.disabled,
        "created_at": client.created_at,
        "tokens_after": client.tokens_after,
    }


def from_row(row: Iterable[Any]) -> Client:
    """Read a row of `BY_ID`."""
    return _client(SimpleNamespace(**dict(zip(_COLUMNS, row, strict=True))))


def _client(row: Row[Any] | SimpleNamespace) -> Client:
    return Client(
        id=row.client_id,
        secret_hash=row.secret_hash,
        grants=frozenset(row.grants.split()),
        scopes=frozenset(row.scope.split()),
        disabled=bool(row.disabled),
        created_at=row.created_at,
        name=row.name,
        previous_secret_hash=row.previous_secret_hash,
        previous_secret_until=row.previous_secret_until,
        jwks=row.jwks,
        redirect_uris=tuple(row.redirect_uris.split()),
        tokens_after=row.tokens_after,
    )


async def set_disabled(connection: AsyncConnection, client_id: str, *, disabled: bool) -> None:
    """Refuse a client from now on, or accept it again."""
    connection.info[CHANGED] = True
    await connection.execute(
        update(CLIENTS).where(CLIENTS.c.client_id == client_id).values(disabled=disabled)
    )


async def set_tokens_after(connection: AsyncConnection, client_id: str, before: int) -> None:
    """Refuse a client's tokens whose ``iat`` is not above."""
    connection.info[CHANGED] = True
    await connection.execute(
        update(CLIENTS).where(CLIENTS.c.client_id == client_id).values(tokens_after=before)
    )
