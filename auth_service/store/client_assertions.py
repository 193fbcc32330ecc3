"""Statements about the assertions of clients, each of which is good once."""

from __future__ import annotations

from sqlalchemy import insert
from sqlalchemy.exc import IntegrityError
from sqlalchemy.ext.asyncio import AsyncConnection

from auth_service.exceptions import InvalidToken
from auth_service.store.tables import CLIENT_ASSERTIONS


async def use(
    connection: AsyncConnection, client_id: str, jti_hash: str, *, expires_at: int
) -> None:
    """Remember an assertion.

    Raises:
        InvalidToken: It was used before. The transaction is spoilt then.
    """
    row = {"client_id": client_id, "jti_hash": jti_hash, "expires_at": expires_at}
    try:
        await connection.execute(insert(CLIENT_ASSERTIONS).values(row))
    except IntegrityError:
        raise InvalidToken("jti") from None
