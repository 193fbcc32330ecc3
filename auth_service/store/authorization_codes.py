"""Statements about authorization codes."""

from __future__ import annotations

from dataclasses import dataclass

from sqlalchemy import insert, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from auth_service.store.tables import AUTHORIZATION_CODES as CODES


@dataclass(frozen=True, slots=True, kw_only=True)
class AuthorizationCode:
    """What a user agreed to.

    Args:
        client_id: For whom.
        user_id: Who.
        redirect_uri: Where the code was sent.
        challenge: The PKCE challenge.
        scope: Words separated by blanks.
        auth_time: When the user typed the password.
    """

    client_id: str
    user_id: str
    redirect_uri: str
    challenge: str
    scope: str
    auth_time: int


async def add(
    connection: AsyncConnection, code_hash: str, code: AuthorizationCode, *, expires_at: int
) -> None:
    """Store a new code under the SHA-256 of its text."""
    row = {
        "code_hash": code_hash,
        "client_id": code.client_id,
        "user_id": code.user_id,
        "redirect_uri": code.redirect_uri,
        "challenge": code.challenge,
        "scope": code.scope,
        "auth_time": code.auth_time,
        "expires_at": expires_at,
    }
    await connection.execute(insert(CODES).values(row))


async def use(
    connection: AsyncConnection, code_hash: str, client_id: str, *, sid: str, now: int
) -> AuthorizationCode | None:
    """Take a code: of several at the same moment one gets it.

    Args:
        connection: From `Database.write`.
        code_hash: Which.
        client_id: Who asks; another client's code is left alone.
        sid: The session it is exchanged for.
        now: Seconds since 1970.
    """
    statement = (
        update(CODES)
        .where(
            CODES.c.code_hash == code_hash,
            CODES.c.client_id == client_id,
            CODES.c.used_at.is_(None),
            CODES.c.expires_at > now,
        )
        .values(used_at=now, session_id=sid)
        .returning(
            CODES.c.client_id,
            CODES.c.user_id,
            CODES.c.redirect_uri,
            CODES.c.challenge,
            CODES.c.scope,
            CODES.c.auth_time,
        )
    )
    row = (await connection.execute(statement)).first()
    if row is None:
        return None
    return AuthorizationCode(
        client_id=row.client_id,
        user_id=row.user_id,
        redirect_uri=row.redirect_uri,
        challenge=row.challenge,
        scope=row.scope,
        auth_time=row.auth_time,
    )


async def exchanged_for(connection: AsyncConnection, code_hash: str, client_id: str) -> str | None:
    """Return the session that a code of this client was exchanged for; None if it was not."""
    sid: str | None = await connection.scalar(
        select(CODES.c.session_id).where(
            CODES.c.code_hash == code_hash, CODES.c.client_id == client_id
        )
    )
    return sid
