"""Statements about sessions."""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import Any

from sqlalchemy import (
    Boolean,
    ColumnElement,
    ScalarSelect,
    bindparam,
    insert,
    literal,
    select,
    update,
)
from sqlalchemy.ext.asyncio import AsyncConnection

from auth_service.store.database import Database
from auth_service.store.prepared import Prepared
from auth_service.store.tables import CLIENTS, SESSIONS, USERS

#: The kind of sessions whose tokens are in a browser's cookies.
BROWSER = "browser"


@dataclass(frozen=True, slots=True, kw_only=True)
class NewSession:
    """A session about to be stored.

    Args:
        id: Its ``sid``.
        user_id: Whose.
        client_id: On whose behalf its tokens are used.
        kind: How it began: a grant type, or ``browser``.
        scope: What was granted, words separated by blanks.
        auth_time: When the user typed the password.
        now: Seconds since 1970.
        token_hash: SHA-256 of its refresh token, in hexadecimal; None if it has none.
        idle_expires_at: When it ends unless it is refreshed.
        expires_at: When it ends anyhow.
        address: From where the user came.
        user_agent: With what.
    """

    id: str
    user_id: str
    client_id: str
    kind: str
    scope: str
    auth_time: int
    now: int
    token_hash: str | None
    idle_expires_at: int
    expires_at: int
    address: str
    user_agent: str


@dataclass(frozen=True, slots=True)
class Standing:
    """Whether a user and a client are in good standing.

    Args:
        user_disabled: Whether the user is refused.
        user_tokens_after: The user's watermark.
        client_disabled: Whether the client is refused.
        client_tokens_after: The client's watermark.
    """

    user_disabled: bool
    user_tokens_after: int
    client_disabled: bool
    client_tokens_after: int


@dataclass(frozen=True, slots=True)
class Ended:
    """A session that has just been ended.

    Args:
        id: Its ``sid``.
        user_id: Whose it was.
        client_id: Of which client.
    """

    id: str
    user_id: str
    client_id: str


@dataclass(frozen=True, slots=True)
class Rotated:
    """A session whose refresh token has just been replaced.

    Args:
        user_id: Whose.
        scope: What was granted, words separated by blanks.
        auth_time: When the user typed the password.
        expires_at: When it ends anyhow.
        idle_expires_at: When it ends unless it is refreshed again.
    """

    user_id: str
    scope: str
    auth_time: int
    expires_at: int
    idle_expires_at: int


@dataclass(frozen=True, slots=True)
class Owner:
    """Who has a session, as far as its tokens say.

    Args:
        id: The ``sub``.
        username: The name.
        scope: What the user may have, words separated by blanks.
        tokens_after: The user's watermark.
    """

    id: str
    username: str
    scope: str
    tokens_after: int


@dataclass(frozen=True, slots=True)
class SessionRow:
    """A session as it is stored.

    Args:
        id: Its ``sid``.
        user_id: Whose.
        client_id: Of which client.
        kind: How it began.
        scope: What was granted, words separated by blanks.
        auth_time: When the user typed the password.
        created_at: When it began.
        used_at: When it was last refreshed.
        token_hash: Of the refresh token that is good now.
        previous_hash: Of the one before.
        rotated_at: When that one was replaced.
        idle_expires_at: When it ends unless it is refreshed.
        expires_at: When it ends anyhow.
        ended_at: When it was ended.
        address: From where the user came.
        user_agent: With what.
    """

    id: str
    user_id: str
    client_id: str
    kind: str
    scope: str
    auth_time: int
    created_at: int
    used_at: int
    token_hash: str | None
    previous_hash: str | None
    rotated_at: int | None
    idle_expires_at: int
    expires_at: int
    ended_at: int | None
    address: str
    user_agent: str

    def alive(self, now: float) -> bool:
        """Say whether it may still be refreshed, or would be if it had a refresh token."""
        return self.ended_at is None and min(self.idle_expires_at, self.expires_at) > now


_ROW = tuple(SESSIONS.c[field.name] for field in fields(SessionRow))


async def standing(connection: AsyncConnection, user_id: str, client_id: str) -> Standing | None:
    """Read what decides about a new session, and keep it so until the transaction ends.

    The rows are locked where the database has such locks: whoever disables the user waits for the
    session and then sees it, or the session is not opened.
    """
    statement = (
        select(USERS.c.disabled, USERS.c.tokens_after, CLIENTS.c.disabled, CLIENTS.c.tokens_after)
        .select_from(USERS)
        .join(CLIENTS, CLIENTS.c.client_id == client_id)
        .where(USERS.c.id == user_id)
        .with_for_update(read=True)
    )
    row = (await connection.execute(statement)).first()
    return None if row is None else Standing(*row)


async def add(connection: AsyncConnection, session: NewSession) -> None:
    """Store a new session."""
    row = {
        "id": session.id,
        "user_id": session.user_id,
        "client_id": session.client_id,
        "kind": session.kind,
        "scope": session.scope,
        "auth_time": session.auth_time,
        "created_at": session.now,
        "used_at": session.now,
        "generation": 0 if session.token_hash is None else 1,
        "token_hash": session.token_hash,
        "idle_expires_at": session.idle_expires_at,
        "expires_at": session.expires_at,
        "address": session.address,
        "user_agent": session.user_agent,
    }
    await connection.execute(insert(SESSIONS).values(row))


async def rotate(
    connection: AsyncConnection,
    sid: str,
    *,
    presented: str,
    successor: str,
    client_id: str,
    browser: bool,
    now: int,
    idle_expires_at: int,
) -> Rotated | None:
    """Replace a refresh token, in one statement that decides who of several does.

    Args:
        connection: From `Database.write`.
        sid: The session.
        presented: The hash of the token that is to be replaced.
        successor: The hash of the one that replaces it.
        client_id: Who presents it.
        browser: Whether it came by cookie.
        now: Seconds since 1970.
        idle_expires_at: When the session ends unless it is refreshed again.

    Returns:
        None if the token is not the one that is good now, or not this client's, or the session is
        over.
    """
    result = await connection.execute(
        _ROTATE,
        {
            "sid": sid,
            "presented": presented,
            "client": client_id,
            "is_browser": browser,
            "now": now,
            "successor": successor,
            "idle": idle_expires_at,
        },
    )
    row = result.first()
    return None if row is None else Rotated(*row)


_GOOD = (
    SESSIONS.c.id == bindparam("sid"),
    SESSIONS.c.token_hash == bindparam("presented"),
    SESSIONS.c.client_id == bindparam("client"),
    (SESSIONS.c.kind == BROWSER) == bindparam("is_browser", type_=Boolean),
    SESSIONS.c.ended_at.is_(None),
    SESSIONS.c.idle_expires_at > bindparam("now"),
    SESSIONS.c.expires_at > bindparam("now"),
)
_REPLACED = {
    SESSIONS.c.generation: SESSIONS.c.generation + 1,
    SESSIONS.c.token_hash: bindparam("successor"),
    SESSIONS.c.previous_hash: bindparam("presented"),
    SESSIONS.c.rotated_at: bindparam("now"),
    SESSIONS.c.used_at: bindparam("now"),
    SESSIONS.c.idle_expires_at: bindparam("idle"),
}
_ROTATED = (
    SESSIONS.c.user_id,
    SESSIONS.c.scope,
    SESSIONS.c.auth_time,
    SESSIONS.c.expires_at,
    SESSIONS.c.idle_expires_at,
)
# Built once: composing a statement costs more than SQLite takes to run it.
_ROTATE = update(SESSIONS).where(*_GOOD).values(_REPLACED).returning(*_ROTATED)
_USER = select(USERS.c.id).where(USERS.c.id == SESSIONS.c.user_id).correlate(SESSIONS)


def _of_user(column: ColumnElement[Any]) -> ScalarSelect[Any]:
    return _USER.with_only_columns(column).scalar_subquery()


# SQLite returns columns of the changed table only, and both databases what is asked in brackets.
_ROTATE_AT_ONCE = Prepared(
    update(SESSIONS)
    .where(
        *_GOOD,
        (literal(" ").concat(SESSIONS.c.scope).concat(" ")).like(bindparam("word")),
        _USER.where(
            USERS.c.disabled.is_(False),
            (literal(" ").concat(USERS.c.scope).concat(" ")).like(bindparam("word")),
        ).exists(),
    )
    .values(_REPLACED)
    .returning(
        *_ROTATED,
        _of_user(USERS.c.username),
        _of_user(USERS.c.scope),
        _of_user(USERS.c.tokens_after),
    )
)


async def rotate_at_once(
    database: Database,
    sid: str,
    *,
    presented: str,
    successor: str,
    client_id: str,
    browser: bool,
    now: int,
    idle_expires_at: int,
    word: str,
) -> tuple[Rotated, Owner] | None:
    """Do as `rotate` does, in a transaction of its own, if user and session have a scope's word.

    Whoever ends the user's sessions changes the same row, so that one of the two is the first.

    Returns:
        None if the token cannot be replaced, or not so; nothing has changed then.

    Raises:
        StoreUnavailable: The database does not answer. Perhaps the token was replaced.
    """
    row = await database.row(
        _ROTATE_AT_ONCE,
        sid=sid,
        presented=presented,
        client=client_id,
        is_browser=browser,
        now=now,
        successor=successor,
        idle=idle_expires_at,
        word=f"% {word} %",
    )
    if row is None:
        return None
    values = tuple(row)
    count = len(_ROTATED)
    return Rotated(*values[:count]), Owner(values[0], *values[count:])


async def by_id(connection: AsyncConnection, sid: str, *, keep: bool = False) -> SessionRow | None:
    """Find a session.

    Args:
        connection: From `Database.write` if it is to be kept, else any.
        sid: Which.
        keep: Whether nobody may end it until the transaction has ended.
    """
    statement = select(*_ROW).where(SESSIONS.c.id == sid)
    if keep:
        statement = statement.with_for_update(read=True)
    row = (await connection.execute(statement)).first()
    return None if row is None else SessionRow(*row)


async def living_of_user(
    connection: AsyncConnection, user_id: str, *, now: int, limit: int
) -> list[SessionRow]:
    """List the sessions of a user that are not over, the last used one first."""
    rows = await connection.execute(
        select(*_ROW)
        .where(
            SESSIONS.c.user_id == user_id,
            SESSIONS.c.ended_at.is_(None),
            SESSIONS.c.idle_expires_at > now,
            SESSIONS.c.expires_at > now,
        )
        .order_by(SESSIONS.c.used_at.desc(), SESSIONS.c.id)
        .limit(limit)
    )
    return [SessionRow(*row) for row in rows]


async def end(connection: AsyncConnection, sid: str, *, reason: str, now: int) -> Ended | None:
    """End one session; None if there is none of this id, or it has ended before."""
    ended = await _end(connection, SESSIONS.c.id == sid, reason, now)
    return ended[0] if ended else None


async def end_of_user(
    connection: AsyncConnection, user_id: str, *, reason: str, now: int
) -> list[Ended]:
    """End all sessions of a user."""
    return await _end(connection, SESSIONS.c.user_id == user_id, reason, now)


async def end_of_client(
    connection: AsyncConnection, client_id: str, *, reason: str, now: int
) -> int:
    """End all sessions of a client, which may be many; returns how many."""
    result = await connection.execute(
        update(SESSIONS)
        .where(SESSIONS.c.client_id == client_id, SESSIONS.c.ended_at.is_(None))
        .values(ended_at=now, end_reason=reason)
    )
    return result.rowcount


async def _end(
    connection: AsyncConnection, which: ColumnElement[bool], reason: str, now: int
) -> list[Ended]:
    rows = await connection.execute(
        update(SESSIONS)
        .where(which, SESSIONS.c.ended_at.is_(None))
        .values(ended_at=now, end_reason=reason)
        .returning(SESSIONS.c.id, SESSIONS.c.user_id, SESSIONS.c.client_id)
    )
    return [Ended(*row) for row in rows]
