"""The one statement that says whether an access token is still good."""

from __future__ import annotations

from dataclasses import dataclass

from sqlalchemy import and_, bindparam, exists, select

from auth_service.store.database import Database
from auth_service.store.prepared import Prepared
from auth_service.store.tables import CLIENTS, REVOCATIONS, SESSIONS, USERS


@dataclass(frozen=True, slots=True)
class TokenState:
    """What the database knows about a token.

    Args:
        client_disabled: Whether its client is refused.
        client_tokens_after: The client's watermark.
        username: Of its user; None: there is no such user.
        user_disabled: Whether the user is refused.
        user_tokens_after: The user's watermark.
        session: Whether it has a session that was not ended.
        revoked: Whether it was revoked by its id.
    """

    client_disabled: bool
    client_tokens_after: int
    username: str | None
    user_disabled: bool | None
    user_tokens_after: int | None
    session: bool
    revoked: bool


# Built once: composing it takes longer than SQLite takes to run it.
_STATE = Prepared(
    select(
        CLIENTS.c.disabled,
        CLIENTS.c.tokens_after,
        USERS.c.username,
        USERS.c.disabled,
        USERS.c.tokens_after,
        SESSIONS.c.id.is_not(None).label("session"),
        exists().where(REVOCATIONS.c.kind == "jti", REVOCATIONS.c.value == bindparam("jti")),
    )
    .select_from(CLIENTS)
    .outerjoin(USERS, USERS.c.id == bindparam("sub"))
    .outerjoin(
        SESSIONS,
        and_(
            SESSIONS.c.id == bindparam("sid"),
            SESSIONS.c.user_id == USERS.c.id,
            SESSIONS.c.ended_at.is_(None),
        ),
    )
    .where(CLIENTS.c.client_id == bindparam("client"))
)


async def of(
    database: Database, *, sub: str, client_id: str, sid: str, jti: str
) -> TokenState | None:
    """Look a token's subject, client, session and id up; None: there is no such client.

    Raises:
        StoreUnavailable: The database does not answer.
    """
    row = await database.row(_STATE, sub=sub, client=client_id, sid=sid, jti=jti)
    return None if row is None else TokenState(*row)
