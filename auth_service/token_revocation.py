"""A client gives a token back (RFC 7009)."""

from __future__ import annotations

from collections.abc import Callable

from auth_service import audit
from auth_service.audit import AuditEvent
from auth_service.caller import Caller
from auth_service.exceptions import InvalidToken, TokenRefused, UnauthorizedClient
from auth_service.models import Client
from auth_service.refresh_tokens import RefreshToken, RefreshTokens
from auth_service.sessions import Sessions
from auth_service.store import revocations, sessions
from auth_service.store.database import Database
from auth_service.store.revocations import Revocation
from auth_service.tokens import LEEWAY_SECONDS, AccessTokens, Claims

# Of whoever checks the token, in case he allows more than we do.
_FURTHER_LEEWAY_SECONDS = 60
_NOWHERE = Caller()


class TokenRevocation:
    """Revokes what a client presents, if it is its own.

    Args:
        database: Where sessions and revocations are.
        sessions: Ends a session.
        tokens: Reads access tokens.
        refresh_tokens: Reads the others.
        clock: Seconds since 1970.
    """

    def __init__(
        self,
        *,
        database: Database,
        sessions: Sessions,
        tokens: AccessTokens,
        refresh_tokens: RefreshTokens,
        clock: Callable[[], float],
    ) -> None:
        self._database = database
        self._sessions = sessions
        self._tokens = tokens
        self._refresh_tokens = refresh_tokens
        self._clock = clock

    async def revoke(self, text: str, client: Client, *, caller: Caller) -> None:
        """Revoke a token; one that is unknown, or not good any more, needs no more (section 2.2).

        A refresh token takes its session with it, an access token itself only. No hint is needed:
        the two look different.

        Raises:
            UnauthorizedClient: The token is another client's.
            StoreUnavailable: The database does not answer; the client tries again.
        """
        refresh_token = self._refresh_tokens.read(text)
        if refresh_token is not None:
            await self._end_session(refresh_token, client, caller)
            return
        try:
            claims = self._tokens.read(text, now=self._clock())
        except InvalidToken:
            return
        _require_own(claims.client_id, client)
        await self._revoke_access_token(claims, claims.sub, caller)

    async def revoke_for_operator(self, text: str) -> None:
        """Revoke anybody's token: a refresh token with its session, an access token itself.

        Raises:
            TokenRefused: It is not one of ours, or not good any more.
            StoreUnavailable: The database does not answer.
        """
        refresh_token = self._refresh_tokens.read(text)
        if refresh_token is not None:
            async with self._database.write() as connection:
                ended = await self._sessions.end(
                    connection,
                    refresh_token.sid,
                    reason="admin",
                    actor=audit.OPERATOR,
                    caller=_NOWHERE,
                )
            if not ended:
                raise TokenRefused("the session of this token has ended")
            return
        try:
            claims = self._tokens.read(text, now=self._clock())
        except InvalidToken:
            raise TokenRefused("this is no token of ours that is still good") from None
        await self._revoke_access_token(claims, audit.OPERATOR, _NOWHERE)

    async def end_session_of(self, text: str, *, caller: Caller) -> None:
        """End the session of a browser's token of either kind; without one there is nothing to do.

        The access token alone will do, and the refresh token also when that one has expired.

        Raises:
            StoreUnavailable: The database does not answer, and the session goes on.
        """
        refresh_token = self._refresh_tokens.read(text)
        if refresh_token is not None:
            await self._end_session(refresh_token, None, caller)
            return
        try:
            claims = self._tokens.read(text, now=self._clock())
        except InvalidToken:
            return
        async with self._database.write() as connection:
            await self._sessions.end(
                connection, claims.sid, reason="logout", actor=claims.sub, caller=caller
            )

    async def _end_session(
        self, token: RefreshToken, client: Client | None, caller: Caller
    ) -> None:
        async with self._database.write() as connection:
            session = await sessions.by_id(connection, token.sid)
            if session is None:
                return
            if client is not None:
                _require_own(session.client_id, client)
            await self._sessions.end(
                connection, token.sid, reason="logout", actor=session.user_id, caller=caller
            )

    async def _revoke_access_token(self, claims: Claims, actor: str, caller: Caller) -> None:
        now = self._clock()
        async with self._database.write() as connection:
            if await revocations.names(connection, "jti", claims.jti):
                return
            event = AuditEvent(
                event="token_revoked",
                actor=actor,
                subject=claims.jti,
                client_id=claims.client_id,
                caller=caller,
            )
            await audit.record(connection, event, now=now)
            entry = Revocation(
                kind="jti",
                value=claims.jti,
                sub=claims.sub,
                until=claims.expires_at + LEEWAY_SECONDS + _FURTHER_LEEWAY_SECONDS,
                reason="token_revoked",
            )
            await revocations.append(connection, entry, now=int(now))


def _require_own(client_id: str, client: Client) -> None:
    if client_id != client.id:
        raise UnauthorizedClient("the token was issued to another client")
