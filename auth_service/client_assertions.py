"""``private_key_jwt``: a client proves itself by a token it signed (RFC 7523 section 3)."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass

from auth_service.client_keys import ClientKey
from auth_service.compact_jws import CompactJWS, claimed_text, claimed_time, parse
from auth_service.exceptions import InvalidToken

ASSERTION_TYPE = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer"
MAX_AHEAD_SECONDS = 300
LEEWAY_SECONDS = 5
# Never `at+jwt`: an access token is no assertion, whoever signed it.
_TYPES = (None, "jwt", "client-authentication+jwt")


@dataclass(frozen=True, slots=True)
class ClientAssertion:
    """An assertion in its parts, of which nothing is to be believed before `check`.

    Args:
        client_id: Who it says it is from.
        jws: The token.
        claims: What it says.
    """

    client_id: str
    jws: CompactJWS
    claims: dict[str, object]


@dataclass(frozen=True, slots=True)
class UsedAssertion:
    """What to remember of an assertion that was accepted.

    Args:
        jti_hash: SHA-256 of its id, in hexadecimal.
        expires_at: Until when, seconds since 1970.
    """

    jti_hash: str
    expires_at: int


def read(text: str) -> ClientAssertion:
    """Take an assertion apart, to learn which client's keys it must be checked with.

    Raises:
        InvalidToken: It is none. Nothing else is raised.
    """
    try:
        jws = parse(text, types=_TYPES)
        claims = jws.claims()
        client_id = claimed_text(claims, "sub")
    except InvalidToken:
        raise
    except Exception:  # noqa: BLE001 (json raises errors of several kinds on hostile input)
        raise InvalidToken("malformed") from None
    return ClientAssertion(client_id, jws, claims)


def check(
    assertion: ClientAssertion, *, keys: Sequence[ClientKey], issuer: str, now: float
) -> UsedAssertion:
    """Verify an assertion; whoever accepts it must see to it that it is accepted once.

    Args:
        assertion: From `read`.
        keys: Those registered for its client.
        issuer: Ours. The audience must be this and nothing beside it: what was made for another
            server, which may name our token endpoint as its own, must not be good here.
        now: Seconds since 1970.

    Raises:
        InvalidToken: It is not acceptable. Nothing else is raised.
    """
    try:
        key = _choose(keys, assertion.jws.header)
        assertion.jws.verify(key.public, key.algorithm)
    except InvalidToken:
        raise
    except Exception:  # noqa: BLE001 (jose raises errors of every kind on hostile input)
        raise InvalidToken("signature") from None
    claims = assertion.claims
    if claims.get("iss") != assertion.client_id:
        raise InvalidToken("iss")
    if claims.get("aud") != issuer:
        raise InvalidToken("aud")
    expires_at = claimed_time(claims, "exp")
    if now >= expires_at + LEEWAY_SECONDS:
        raise InvalidToken("expired")
    if expires_at > now + MAX_AHEAD_SECONDS + LEEWAY_SECONDS:
        raise InvalidToken("exp")
    for name in ("iat", "nbf"):
        if name in claims and claimed_time(claims, name) > now + LEEWAY_SECONDS:
            raise InvalidToken(name)
    jti = claimed_text(claims, "jti")
    digest = hashlib.sha256(jti.encode("utf-8", "surrogatepass")).hexdigest()
    # As long as it could be accepted again.
    return UsedAssertion(digest, expires_at + LEEWAY_SECONDS)


def _choose(keys: Sequence[ClientKey], header: dict[str, object]) -> ClientKey:
    """Find the one key: by its id, or the only one of the algorithm."""
    kid = header.get("kid")
    if kid is None:
        found = [key for key in keys if key.algorithm == header.get("alg")]
    else:
        found = [key for key in keys if key.kid == kid]
    if len(found) != 1:
        raise InvalidToken("kid")
    return found[0]
