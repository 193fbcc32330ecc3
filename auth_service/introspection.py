"""What a token is worth at this moment (RFC 7662). Nothing is written, whatever is asked."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from auth_service.access import AccessCheck
from auth_service.exceptions import InvalidToken
from auth_service.refresh_tokens import PREFIX, RefreshTokens
from auth_service.store import clients, sessions, users
from auth_service.store.database import Database

#: The scope of those who may ask.
SCOPE = "introspect"
# One object for all that is not good, so that no cause can be told from another.
INACTIVE: dict[str, Any] = {"active": False}


class Introspection:
    """Answers what a token says, if it is good.

    Args:
        access: Checks access tokens.
        refresh_tokens: Reads the others.
        database: Where their sessions are.
        issuer: The ``iss``.
        audience: The ``aud`` of access tokens.
        clock: Seconds since 1970.
    """

    def __init__(
        self,
        *,
        access: AccessCheck,
        refresh_tokens: RefreshTokens,
        database: Database,
        issuer: str,
        audience: str,
        clock: Callable[[], float],
    ) -> None:
        self._access = access
        self._refresh_tokens = refresh_tokens
        self._database = database
        self._issuer = issuer
        self._audience = audience
        self._clock = clock

    async def describe(self, text: str) -> dict[str, Any]:
        """Return the answer's members (RFC 7662 section 2.2).

        Raises:
            StoreUnavailable: The database does not answer.
        """
        if text.startswith(PREFIX):
            return await self._refresh_token(text)
        try:
            access = await self._access.check(text)
        except InvalidToken:
            return INACTIVE
        claims = access.claims
        described = {
            "active": True,
            "scope": claims.scope,
            "client_id": claims.client_id,
            "sub": claims.sub,
            "aud": [self._audience],
            "iss": self._issuer,
            "exp": claims.expires_at,
            "iat": claims.issued_at,
            "jti": claims.jti,
            "sid": claims.sid,
            "token_type": "Bearer",
        }
        if access.username is not None:
            described["username"] = access.username
        return described

    async def _refresh_token(self, text: str) -> dict[str, Any]:
        token = self._refresh_tokens.read(text)
        if token is None:
            return INACTIVE
        async with self._database.read() as connection:
            session = await sessions.by_id(connection, token.sid)
            if (
                session is None
                or session.token_hash != token.hash
                or not session.alive(int(self._clock()))
            ):
                return INACTIVE
            user = await users.by_id(connection, session.user_id)
            client = await clients.by_id(connection, session.client_id)
        if user is None or user.disabled or client is None or client.disabled:
            return INACTIVE
        return {
            "active": True,
            "scope": session.scope,
            "client_id": session.client_id,
            "sub": session.user_id,
            "username": user.username,
            "iss": self._issuer,
            "exp": min(session.idle_expires_at, session.expires_at),
            "iat": session.used_at,
            "sid": session.id,
        }
