"""Statements about users."""

from __future__ import annotations

from typing import Any

from sqlalchemy import ColumnElement, Row, exists, insert, select, update
from sqlalchemy.exc import IntegrityError
from sqlalchemy.ext.asyncio import AsyncConnection

from auth_service.exceptions import UsernameTaken
from auth_service.identifiers import new_identifier
from auth_service.models import User, Username
from auth_service.store.tables import USERS

_COLUMNS = (
    USERS.c.id,
    USERS.c.username,
    USERS.c.password_hash,
    USERS.c.scope,
    USERS.c.disabled,
    USERS.c.demo,
    USERS.c.created_at,
    USERS.c.tokens_after,
)


async def by_name(connection: AsyncConnection, name: Username) -> User | None:
    """Find a user by name, whatever its case."""
    return await _one(connection, USERS.c.username_key == name.key)


async def by_id(connection: AsyncConnection, user_id: str) -> User | None:
    """Find a user by the ``sub`` of a token."""
    return await _one(connection, USERS.c.id == user_id)


async def add(
    connection: AsyncConnection,
    name: Username,
    *,
    password_hash: str,
    scope: str,
    demo: bool,
    now: int,
) -> User:
    """Store a new user under a fresh random id.

    Raises:
        UsernameTaken: The name, or one of equal key, is in use. The database decides, so that of
            two at the same moment one wins. The transaction is spoilt then.
    """
    user = User(
        id=new_identifier(),
        username=name.shown,
        password_hash=password_hash,
        scopes=frozenset(scope.split()),
        disabled=False,
        demo=demo,
        created_at=now,
    )
    row = {
        "id": user.id,
        "username": name.shown,
        "username_key": name.key,
        "password_hash": password_hash,
        "scope": scope,
        "disabled": False,
        "demo": demo,
        "created_at": now,
    }
    try:
        await connection.execute(insert(USERS).values(row))
    except IntegrityError:
        raise UsernameTaken("a user of this name exists already") from None
    return user


async def replace_password_hash(
    connection: AsyncConnection, user: User, password_hash: str
) -> bool:
    """Store a new hash, unless somebody else replaced the one ``user`` carries meanwhile."""
    result = await connection.execute(
        update(USERS)
        .where(USERS.c.id == user.id, USERS.c.password_hash == user.password_hash)
        .values(password_hash=password_hash)
    )
    return result.rowcount == 1


async def set_disabled(connection: AsyncConnection, user_id: str, *, disabled: bool) -> None:
    """Refuse a user's logins and tokens from now on, or accept them again."""
    await connection.execute(update(USERS).where(USERS.c.id == user_id).values(disabled=disabled))


async def locked(connection: AsyncConnection, user_id: str) -> User | None:
    """Find a user and keep him as he is, for others, until the transaction ends."""
    return await _one(connection, USERS.c.id == user_id, lock=True)


async def set_password_hash(connection: AsyncConnection, user_id: str, password_hash: str) -> None:
    """Store the hash of a new password."""
    await connection.execute(
        update(USERS).where(USERS.c.id == user_id).values(password_hash=password_hash)
    )


async def set_tokens_after(connection: AsyncConnection, user_id: str, before: int) -> None:
    """Refuse tokens whose ``iat`` is not above."""
    await connection.execute(update(USERS).where(USERS.c.id == user_id).values(tokens_after=before))


async def page(connection: AsyncConnection, *, after: str, limit: int) -> list[User]:
    """Return users in the order of their names' keys, from above a key."""
    statement = (
        select(*_COLUMNS)
        .where(USERS.c.username_key > after)
        .order_by(USERS.c.username_key)
        .limit(limit)
    )
    return [_user(row) for row in await connection.execute(statement)]


async def any_demo(connection: AsyncConnection) -> bool:
    """Say whether any user's password was made for a demonstration."""
    return bool(await connection.scalar(select(exists().where(USERS.c.demo))))


async def _one(
    connection: AsyncConnection, condition: ColumnElement[bool], *, lock: bool = False
) -> User | None:
    statement = select(*_COLUMNS).where(condition)
    if lock:
        statement = statement.with_for_update()
    row = (await connection.execute(statement)).first()
    return None if row is None else _user(row)


def _user(row: Row[*tuple[Any, ...]]) -> User:
    return User(
        id=row.id,
        username=row.username,
        password_hash=row.password_hash,
        scopes=frozenset(row.scope.split()),
        disabled=row.disabled,
        demo=row.demo,
        created_at=row.created_at,
        tokens_after=row.tokens_after,
    )
