"""What a client may exchange for an access token: one class per grant type."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Protocol

from auth_service.exceptions import (
    InvalidGrant,
    InvalidRequest,
    InvalidScope,
    InvalidUsername,
    Overloaded,
    StoreUnavailable,
    UnauthorizedClient,
)
from auth_service.metrics import Metrics
from auth_service.models import CLIENT_ONLY_SCOPES, Client, User, Username, parse_scope
from auth_service.passwords import PasswordHasher, password_fits
from auth_service.store import Store
from auth_service.tokens import AccessTokens

MAX_PRESENTED_NAME_CHARACTERS = 256
_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Issued:
    """A successful answer of the token endpoint (RFC 6749 section 5.1).

    Args:
        access_token: The token's text.
        expires_in: Seconds it lives.
        scope: What was granted, words separated by blanks.
    """

    access_token: str
    expires_in: int
    scope: str


class Grant(Protocol):
    """One grant type."""

    async def exchange(self, *, client: Client, form: Mapping[str, str]) -> Issued:
        """Check what the client presents and mint a token, or raise a RequestError."""
        ...


class PasswordGrant:
    """Resource owner password credentials (RFC 6749 section 4.3).

    RFC 9700 section 2.4 forbids this grant, for the client sees the password; it is here because
    command lines and tests want it, for those clients only whose registration names it.

    Checks go from cheap to dear: what can be refused without the database or a hash is.

    Args:
        store: Users.
        hasher: Checks the password.
        tokens: Mints the token.
        metrics: Where logins are counted.
        clock: Seconds since 1970.
    """

    name = "password"

    def __init__(
        self,
        *,
        store: Store,
        hasher: PasswordHasher,
        tokens: AccessTokens,
        metrics: Metrics,
        clock: Callable[[], float],
    ) -> None:
        self._store = store
        self._hasher = hasher
        self._tokens = tokens
        self._metrics = metrics
        self._clock = clock

    async def exchange(self, *, client: Client, form: Mapping[str, str]) -> Issued:
        """Log a user in.

        Raises:
            UnauthorizedClient: The client is not registered for this grant.
            InvalidRequest: A parameter is missing or too long.
            InvalidScope: The scope is malformed, or wider than client and user together allow.
            InvalidGrant: Unknown user, wrong password or disabled user: one answer, one hash.
            Overloaded: Too many logins at once.
        """
        if self.name not in client.grants:
            raise UnauthorizedClient("this client may not use the password grant")
        name, password = form.get("username"), form.get("password")
        if name is None or password is None:
            raise InvalidRequest("username and password are required")
        if len(name) > MAX_PRESENTED_NAME_CHARACTERS:
            raise InvalidRequest("username is too long")
        if not password_fits(password):
            raise InvalidRequest("password is too long")
        requested = _requested_scopes(form.get("scope"), client)

        user = await self._authenticate(name, password)

        allowed = (client.scopes & user.scopes) - CLIENT_ONLY_SCOPES
        granted = allowed if requested is None else requested
        if not granted or not granted <= allowed:
            raise InvalidScope("the scope is wider than what this user may have")
        token = self._tokens.mint(
            sub=user.id,
            name=user.username,
            client_id=client.id,
            scopes=granted,
            now=self._clock(),
        )
        self._metrics.tokens_issued.labels(grant_type=self.name).inc()
        _log.info(
            "token_issued",
            extra={"sub": user.id, "client_id": client.id, "jti": token.jti, "sid": token.sid},
        )
        return Issued(token.text, token.expires_in, " ".join(sorted(granted)))

    async def _authenticate(self, name: str, password: str) -> User:
        user = await self._find(name)
        try:
            verdict = await self._hasher.verify(password, user.password_hash if user else None)
        except Overloaded:
            self._metrics.logins.labels(result="overloaded").inc()
            raise
        if user is None or user.disabled or not verdict.correct:
            self._metrics.logins.labels(result="failure").inc()
            raise InvalidGrant
        if verdict.replacement is not None:
            await self._strengthen(user, verdict.replacement)
        self._metrics.logins.labels(result="success").inc()
        return user

    async def _strengthen(self, user: User, password_hash: str) -> None:
        """Store a hash of today's cost; the login is good whether that succeeds or not."""
        try:
            await self._store.replace_password_hash(user, password_hash)
        except StoreUnavailable:
            _log.warning("password_rehash_not_stored", extra={"sub": user.id})

    async def _find(self, name: str) -> User | None:
        try:
            return await self._store.user_by_name(Username.parse(name))
        except InvalidUsername:
            return None  # nobody has such a name; the answer is that for an unknown one


def _requested_scopes(text: str | None, client: Client) -> frozenset[str] | None:
    """Read the ``scope`` parameter; None if it was left out."""
    if text is None:
        return None
    scopes = parse_scope(text)
    if scopes is None:
        raise InvalidScope("the scope is malformed")
    if not scopes <= client.scopes - CLIENT_ONLY_SCOPES:
        raise InvalidScope("the scope is wider than what this client may ask for")
    return scopes
