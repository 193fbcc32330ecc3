"""Whether an access token is good now: its signature and times, and nobody has revoked it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from auth_service.exceptions import InvalidToken
from auth_service.models import CLIENT_PREFIX
from auth_service.store import token_states
from auth_service.store.database import Database
from auth_service.tokens import AccessTokens, Claims


@dataclass(frozen=True, slots=True)
class Access:
    """A good token.

    Args:
        claims: What it says.
        username: Its user's name; None for a service.
    """

    claims: Claims
    username: str | None


class AccessCheck:
    """Checks tokens; each good signature costs one statement, and nothing is written.

    Args:
        database: Knows what was revoked.
        tokens: Reads tokens.
        clock: Seconds since 1970.
    """

    def __init__(
        self, *, database: Database, tokens: AccessTokens, clock: Callable[[], float]
    ) -> None:
        self._database = database
        self._tokens = tokens
        self._clock = clock

    async def check(self, text: str) -> Access:
        """Return what a good token says.

        Raises:
            InvalidToken: It is not ours or has expired, was revoked, its session has ended, or its
                user or client is gone or disabled.
            StoreUnavailable: The database does not answer.
        """
        claims = self._tokens.read(text, now=self._clock())
        state = await token_states.of(
            self._database,
            sub=claims.sub,
            client_id=claims.client_id,
            sid=claims.sid,
            jti=claims.jti,
        )
        if state is None or state.client_disabled:
            raise InvalidToken("client")
        if state.revoked or claims.issued_at <= state.client_tokens_after:
            raise InvalidToken("revoked")
        if claims.sub.startswith(CLIENT_PREFIX):
            return Access(claims, None)
        if state.username is None or state.user_disabled:
            raise InvalidToken("user")
        if not state.session or claims.issued_at <= (state.user_tokens_after or 0):
            raise InvalidToken("revoked")
        return Access(claims, state.username)
