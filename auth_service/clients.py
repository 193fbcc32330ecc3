"""Which OAuth2 client sends a request (RFC 6749 section 2.3)."""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import secrets
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from urllib.parse import unquote_to_bytes

from auth_service import client_assertions
from auth_service.client_assertions import ASSERTION_TYPE, ClientAssertion
from auth_service.client_keys import ALGORITHMS, read_jwks
from auth_service.exceptions import AccountError, InvalidClient, InvalidRequest, InvalidToken
from auth_service.limits import Limits
from auth_service.models import CLIENT_ID, Client
from auth_service.recent_clients import RecentClients
from auth_service.store import client_assertions as used_assertions, clients
from auth_service.store.database import Database

AUTHENTICATION_METHODS = ("client_secret_basic", "client_secret_post", "none", "private_key_jwt")
#: Those that prove something.
PROVING_METHODS = tuple(method for method in AUTHENTICATION_METHODS if method != "none")
ASSERTION_ALGORITHMS = ALGORITHMS
MAX_SECRET_CHARACTERS = 1024
_UNKNOWN = "unknown client or wrong client credentials"


def new_secret() -> str:
    """Make a client secret of 256 random bits; the prefix lets scanners recognise a leak."""
    return "cs_" + secrets.token_urlsafe(32)


def hash_secret(secret: str) -> str:
    """Return what is stored of a secret.

    Plain SHA-256: against 256 random bits guessing is hopeless, and a slow hash on every request
    would be an invitation to flood (RFC 6749 section 10.10).
    """
    return hashlib.sha256(secret.encode("utf-8", "surrogatepass")).hexdigest()


@dataclass(frozen=True, slots=True)
class _Presented:
    """What a request says about its client; at most one of the two proofs is there."""

    client_id: str
    basic: bool = False
    secret: str | None = None
    assertion: ClientAssertion | None = None


class ClientAuthenticator:
    """Finds the client of a request and checks what proves it.

    Args:
        database: Where clients are.
        default_client: The client of a request that names none; empty: there is none.
        issuer: To whom assertions must be addressed.
        limits: Count wrong proofs.
        clock: Seconds since 1970.
    """

    def __init__(
        self,
        *,
        database: Database,
        default_client: str,
        issuer: str,
        limits: Limits,
        clock: Callable[[], float],
    ) -> None:
        self._database = database
        self._default_client = default_client
        self._issuer = issuer
        self._limits = limits
        self._clock = clock
        self._recent = RecentClients(database=database)

    async def identify(
        self, *, authorization: Sequence[str], form: Mapping[str, str], address: str = ""
    ) -> Client:
        """Return the client of a request.

        Args:
            authorization: Every ``Authorization`` header of the request.
            form: The body's parameters, empty ones left out.
            address: Where it comes from; who guesses is slowed down there.

        Raises:
            InvalidRequest: The client used two ways at once, or a secret without an id.
            InvalidClient: It is unknown or disabled, or its proof is wrong, missing or too many.
            TooManyAttempts: There were too many wrong proofs.
            StoreUnavailable: The database does not answer.
        """
        presented = self._presented(authorization, form)
        client = await self.find(presented.client_id)
        if client is None or not await self._agrees(client, presented):
            # What is not there is counted as one, so that made up names fill no table.
            await self._limits.check("client", client.id if client else "", address)
            raise InvalidClient(_UNKNOWN, basic=presented.basic)
        return client

    async def find(self, client_id: str) -> Client | None:
        """Return the client of this id, unless it is disabled; it has proved nothing.

        Raises:
            StoreUnavailable: The database does not answer.
        """
        if CLIENT_ID.fullmatch(client_id) is None:
            return None
        client = await self._recent.find(client_id)
        return None if client is None or client.disabled else client

    def _presented(self, authorization: Sequence[str], form: Mapping[str, str]) -> _Presented:
        """Return what the request states, by whichever one method it uses."""
        client_id, secret = form.get("client_id"), form.get("client_secret")
        methods = (
            bool(authorization),
            secret is not None,
            "client_assertion" in form or "client_assertion_type" in form,
        )
        if sum(methods) > 1 or len(authorization) > 1:
            raise InvalidRequest("use one method of client authentication")
        if authorization:
            basic_id, basic_secret = _read_basic(authorization[0])
            if client_id not in {None, basic_id}:
                raise InvalidRequest("client_id differs from the Authorization header")
            # An empty secret is none (RFC 6749 section 2.3.1): many libraries send `id:`.
            return _Presented(basic_id, basic=True, secret=basic_secret or None)
        if methods[-1]:
            return _read_assertion(client_id, form)
        if client_id is not None:
            return _Presented(client_id, secret=secret)
        if secret is not None:
            raise InvalidRequest("client_secret without client_id")
        if not self._default_client:
            raise InvalidClient("name a client by client_id")
        return _Presented(self._default_client)

    async def _agrees(self, client: Client, presented: _Presented) -> bool:
        """Say whether a client is proved by what was presented, or needs no proof."""
        if presented.assertion is not None:
            return await self._proves(client, presented.assertion)
        return self._secret_matches(client, presented.secret)

    def _secret_matches(self, client: Client, secret: str | None) -> bool:
        """Compare in constant time; a public client has no secret, so presenting one is wrong."""
        if client.public or secret is None:
            return client.public and secret is None
        if len(secret) > MAX_SECRET_CHARACTERS:
            return False
        presented = hash_secret(secret)
        good = [client.secret_hash]
        if self._clock() < (client.previous_secret_until or 0):
            good.append(client.previous_secret_hash)
        # Both are compared, whichever it is.
        return any([hmac.compare_digest(presented, stored) for stored in good if stored])  # noqa: C419

    async def _proves(self, client: Client, assertion: ClientAssertion) -> bool:
        """Say whether an assertion is the client's as it still is, and was not used before."""
        if client.jwks is None:
            return False
        try:
            used = client_assertions.check(
                assertion, keys=read_jwks(client.jwks), issuer=self._issuer, now=self._clock()
            )
            async with self._database.write() as connection:
                await used_assertions.use(
                    connection, client.id, used.jti_hash, expires_at=used.expires_at
                )
                # To write may have meant to wait, and the client may have been disabled meanwhile.
                return await clients.by_id(connection, client.id) == client
        except (InvalidToken, AccountError):
            return False


def _read_assertion(client_id: str | None, form: Mapping[str, str]) -> _Presented:
    if form.get("client_assertion_type") != ASSERTION_TYPE:
        raise InvalidClient("the client_assertion_type is not known")
    try:
        assertion = client_assertions.read(form.get("client_assertion", ""))
    except InvalidToken:
        raise InvalidClient(_UNKNOWN) from None
    if client_id not in {None, assertion.client_id}:
        raise InvalidClient(_UNKNOWN)
    return _Presented(assertion.client_id, assertion=assertion)


def _read_basic(header: str) -> tuple[str, str]:
    """Read HTTP Basic credentials, whose halves are form-encoded first (RFC 6749 section 2.3.1)."""
    scheme, _, credentials = header.partition(" ")
    if scheme.lower() != "basic":
        raise InvalidClient("the Authorization header is for HTTP Basic", basic=True)
    try:
        decoded = base64.b64decode(credentials.strip(" "), validate=True).decode("utf-8")
        client_id, colon, secret = decoded.partition(":")
        if not colon:
            raise InvalidClient("the Basic credentials cannot be read", basic=True)
        return _form_decoded(client_id), _form_decoded(secret)
    except (binascii.Error, ValueError):
        raise InvalidClient("the Basic credentials cannot be read", basic=True) from None


def _form_decoded(text: str) -> str:
    return unquote_to_bytes(text.replace("+", " ")).decode("utf-8")
