"""Which OAuth2 client sends a request (RFC 6749 section 2.3)."""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import secrets
from collections.abc import Mapping, Sequence
from urllib.parse import unquote_to_bytes

from auth_service.exceptions import InvalidClient, InvalidRequest
from auth_service.models import CLIENT_ID, Client
from auth_service.store import Store

AUTHENTICATION_METHODS = ("client_secret_basic", "client_secret_post", "none")
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


class ClientAuthenticator:
    """Finds the client of a request and checks its secret, if it has one.

    Args:
        store: Where clients are.
        default_client: The client of a request that names none; empty: there is none.
    """

    def __init__(self, *, store: Store, default_client: str) -> None:
        self._store = store
        self._default_client = default_client

    async def identify(self, *, authorization: Sequence[str], form: Mapping[str, str]) -> Client:
        """Return the client of a request.

        Args:
            authorization: Every ``Authorization`` header of the request.
            form: The body's parameters, empty ones left out.

        Raises:
            InvalidRequest: The client used two ways at once, or a secret without an id.
            InvalidClient: It is unknown or disabled, or its secret is wrong, missing or too many.
        """
        basic = bool(authorization)
        client_id, secret = self._presented(authorization, form)
        if CLIENT_ID.fullmatch(client_id) is None:
            raise InvalidClient(_UNKNOWN, basic=basic)
        client = await self._store.client(client_id)
        if client is None or client.disabled or not _secret_matches(client, secret):
            raise InvalidClient(_UNKNOWN, basic=basic)
        return client

    def _presented(
        self, authorization: Sequence[str], form: Mapping[str, str]
    ) -> tuple[str, str | None]:
        """Return client id and secret as the request states them."""
        client_id, secret = form.get("client_id"), form.get("client_secret")
        if authorization:
            if len(authorization) > 1 or secret is not None:
                raise InvalidRequest("use one method of client authentication")
            basic_id, basic_secret = _read_basic(authorization[0])
            if client_id not in {None, basic_id}:
                raise InvalidRequest("client_id differs from the Authorization header")
            # An empty secret is none (RFC 6749 section 2.3.1): many libraries send `id:`.
            return basic_id, basic_secret or None
        if client_id is not None:
            return client_id, secret
        if secret is not None:
            raise InvalidRequest("client_secret without client_id")
        if not self._default_client:
            raise InvalidClient("name a client by client_id")
        return self._default_client, None


def _secret_matches(client: Client, secret: str | None) -> bool:
    """Compare in constant time; a public client has no secret, so presenting one is wrong."""
    if client.secret_hash is None or secret is None:
        return client.secret_hash is None and secret is None
    if len(secret) > MAX_SECRET_CHARACTERS:
        return False
    return hmac.compare_digest(hash_secret(secret), client.secret_hash)


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
