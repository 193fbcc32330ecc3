"""Codes that stand for what a user agreed to on a page of ours, and the session they open."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from typing import Protocol

from sqlalchemy.ext.asyncio import AsyncConnection

from auth_service.caller import Caller
from auth_service.exceptions import InvalidGrant
from auth_service.grants.base import still_granted
from auth_service.issued import Issued
from auth_service.models import Client
from auth_service.sessions import Sessions
from auth_service.store import users
from auth_service.store.database import Database

#: Ours are shorter; what is longer is not looked for.
MAX_CODE_CHARACTERS = 128


def hash_code(code: str) -> str:
    """Return what is stored of a code, whose 256 random bits need no slow hash."""
    return hashlib.sha256(code.encode("utf-8", "surrogatepass")).hexdigest()


class Agreement(Protocol):
    """What a user agreed to."""

    @property
    def user_id(self) -> str | None:
        """Who; None is nobody."""

    @property
    def scope(self) -> str:
        """What the tokens are good for, words separated by blanks."""

    @property
    def auth_time(self) -> int | None:
        """When the user typed the password, seconds since 1970."""


class CodeGrant:
    """What the grants have in common whose client shows a code.

    Args:
        database: Where codes are.
        sessions: Opens the session.
        clock: Seconds since 1970.
    """

    def __init__(
        self, *, database: Database, sessions: Sessions, clock: Callable[[], float]
    ) -> None:
        self._database = database
        self._sessions = sessions
        self._clock = clock

    async def _start(
        self,
        connection: AsyncConnection,
        agreement: Agreement,
        client: Client,
        *,
        kind: str,
        caller: Caller,
        sid: str | None = None,
    ) -> Issued:
        """Open the session that a user agreed to, inside a writing transaction.

        Args:
            connection: From `Database.write`.
            agreement: Whose code was shown.
            client: On whose behalf.
            kind: Which grant it is.
            caller: Who asks.
            sid: The session's id, if it has to be known.

        Raises:
            InvalidGrant: The user is there no more, may not log in, or may do nothing of this.
        """
        user = await users.by_id(connection, agreement.user_id or "")
        if user is None:
            raise InvalidGrant("the code is not valid")
        return await self._sessions.start_in(
            connection,
            user,
            client,
            scopes=still_granted(agreement.scope, client, user),
            kind=kind,
            caller=caller,
            auth_time=agreement.auth_time,
            sid=sid,
        )
