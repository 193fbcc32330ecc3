"""Access tokens (RFC 9068): how they are minted, and a strict reading of our own.

python-jose signs and verifies; all else it would accept is refused here first. It ignores ``crit``,
any ``typ``, stray characters in the signature, and it fails with errors of every kind on input made
to break it. The time is always an argument.
"""

from __future__ import annotations

import base64
import json
import re
import secrets
from collections.abc import Collection
from dataclasses import dataclass

from jose import jws, jwt

from auth_service.exceptions import InvalidToken
from auth_service.keys import KeyRing
from auth_service.models import parse_scope

MAX_TOKEN_CHARACTERS = 4096
MAX_LIFETIME_SECONDS = 3600
LEEWAY_SECONDS = 5
_MAX_CLAIM_CHARACTERS = 255

# The header's 683 characters are 512 bytes, too few to nest brackets deep enough to hurt.
_SHAPE = re.compile(r"([A-Za-z0-9_-]{2,683})\.([A-Za-z0-9_-]{2,})\.([A-Za-z0-9_-]{20,})")
_TYPES = frozenset({"at+jwt", "application/at+jwt"})
_KID = re.compile(r"[A-Za-z0-9_-]{1,64}")
_SUBJECT = re.compile(r"(?:client:)?[A-Za-z0-9_-]{1,64}")


@dataclass(frozen=True, slots=True)
class AccessToken:
    """A token that was just minted.

    Args:
        text: What the client presents.
        jti: Its id, which may be logged.
        sid: The session it belongs to.
        expires_in: Seconds it lives.
    """

    text: str
    jti: str
    sid: str
    expires_in: int


@dataclass(frozen=True, slots=True)
class Claims:
    """What an accepted token says.

    Args:
        sub: The user's id.
        client_id: The client it was given to.
        scope: Words separated by blanks.
        jti: The token's id.
        sid: The session's id.
        issued_at: Seconds since 1970.
        expires_at: Seconds since 1970.
    """

    sub: str
    client_id: str
    scope: str
    jti: str
    sid: str
    issued_at: int
    expires_at: int


class AccessTokens:
    """Mints and reads this issuer's access tokens.

    Args:
        keys: The signing key and all that verify.
        issuer: The ``iss``.
        audience: The ``aud``.
        lifetime_seconds: From ``iat`` to ``exp``, at most 3600.
    """

    def __init__(self, *, keys: KeyRing, issuer: str, audience: str, lifetime_seconds: int) -> None:
        self._keys = keys
        self._issuer = issuer
        self._audience = audience
        self._lifetime_seconds = lifetime_seconds

    def mint(
        self, *, sub: str, name: str, client_id: str, scopes: Collection[str], now: float
    ) -> AccessToken:
        """Sign a token for a user who logged in just now.

        Args:
            sub: The user's opaque id.
            name: The user's name, which others see in ``info``.
            client_id: The client that asks.
            scopes: What is granted, not empty.
            now: Seconds since 1970.
        """
        issued_at = int(now)
        jti, sid = secrets.token_urlsafe(16), secrets.token_urlsafe(16)
        claims: dict[str, object] = {
            "iss": self._issuer,
            "aud": [self._audience],
            "exp": issued_at + self._lifetime_seconds,
            "iat": issued_at,
            "auth_time": issued_at,
            "jti": jti,
            "sid": sid,
            "sub": sub,
            "client_id": client_id,
            "scope": " ".join(sorted(scopes)),
            "info": {"name": name},
        }
        key = self._keys.signing
        text = jwt.encode(
            claims,
            key.private,
            algorithm=key.algorithm,
            headers={"typ": "at+jwt", "kid": key.kid},
        )
        return AccessToken(text, jti, sid, self._lifetime_seconds)

    def read(self, token: str, *, now: float) -> Claims:
        """Verify a token that somebody presented (RFC 9068 section 4).

        Args:
            token: Any text.
            now: Seconds since 1970.

        Raises:
            InvalidToken: It is not one of ours, or not good any more. Nothing else is raised.
        """
        try:
            return self._read(token, now)
        except InvalidToken:
            raise
        except Exception:  # noqa: BLE001 (jose and json raise errors of every kind on hostile input)
            raise InvalidToken("malformed") from None

    def _read(self, token: str, now: float) -> Claims:
        if len(token) > MAX_TOKEN_CHARACTERS:
            raise InvalidToken("length")
        match = _SHAPE.fullmatch(token)
        if match is None:
            raise InvalidToken("shape")
        header, payload, _ = (_decode_segment(segment) for segment in match.groups())
        fields = _object(header)
        if not fields.keys() <= {"alg", "typ", "kid"}:
            raise InvalidToken("header")
        typ, kid = fields.get("typ"), fields.get("kid")
        if not isinstance(typ, str) or typ.lower() not in _TYPES:
            raise InvalidToken("typ")
        if not isinstance(kid, str) or _KID.fullmatch(kid) is None:
            raise InvalidToken("kid")
        key = self._keys.by_kid.get(kid)
        if key is None:
            raise InvalidToken("kid")
        if fields.get("alg") != key.algorithm:
            raise InvalidToken("alg")
        # jws and not jwt: that one asks the system for the time and reads the claims more kindly.
        jws.verify(token, key.public, algorithms=[key.algorithm])
        return self._claims(_object(payload), now)

    def _claims(self, claims: dict[str, object], now: float) -> Claims:
        if claims.get("iss") != self._issuer:
            raise InvalidToken("iss")
        audience = claims.get("aud")
        audiences = [audience] if isinstance(audience, str) else audience
        if not isinstance(audiences, list) or not all(isinstance(one, str) for one in audiences):
            raise InvalidToken("aud")
        if self._audience not in audiences:
            raise InvalidToken("aud")
        if "cnf" in claims:  # bound to a proof that nobody here checks
            raise InvalidToken("cnf")
        issued_at, expires_at = _time(claims, "iat"), _time(claims, "exp")
        if now >= expires_at + LEEWAY_SECONDS:
            raise InvalidToken("expired")
        if issued_at > now + LEEWAY_SECONDS:
            raise InvalidToken("iat")
        if not 0 < expires_at - issued_at <= MAX_LIFETIME_SECONDS:
            raise InvalidToken("exp")
        if "nbf" in claims and _time(claims, "nbf") > now + LEEWAY_SECONDS:
            raise InvalidToken("nbf")
        sub, scope = _text(claims, "sub"), claims.get("scope")
        if _SUBJECT.fullmatch(sub) is None:
            raise InvalidToken("sub")
        if not isinstance(scope, str) or parse_scope(scope) is None:
            raise InvalidToken("scope")
        return Claims(
            sub=sub,
            client_id=_text(claims, "client_id"),
            scope=scope,
            jti=_text(claims, "jti"),
            sid=_text(claims, "sid"),
            issued_at=issued_at,
            expires_at=expires_at,
        )


def _decode_segment(segment: str) -> bytes:
    """Decode canonical base64url: one text for one value, so a token has one spelling."""
    decoded = base64.urlsafe_b64decode(segment + "=" * (-len(segment) % 4))
    if base64.urlsafe_b64encode(decoded).rstrip(b"=").decode() != segment:
        raise InvalidToken("base64")
    return decoded


def _object(text: bytes) -> dict[str, object]:
    """Parse a JSON object in which every name occurs once and every number is finite."""
    parsed = json.loads(
        text.decode("utf-8"), object_pairs_hook=_unique, parse_constant=_refuse_constant
    )
    if not isinstance(parsed, dict):
        raise InvalidToken("json")
    return parsed


def _unique(pairs: list[tuple[str, object]]) -> dict[str, object]:
    unique = dict(pairs)
    if len(unique) != len(pairs):
        raise InvalidToken("duplicate")
    return unique


def _refuse_constant(_: str) -> object:
    raise InvalidToken("number")


def _time(claims: dict[str, object], name: str) -> int:
    value = claims.get(name)
    # bool is an int to isinstance(), and no time.
    if type(value) is not int or value < 0:
        raise InvalidToken(name)
    return value


def _text(claims: dict[str, object], name: str) -> str:
    value = claims.get(name)
    if not isinstance(value, str) or not 1 <= len(value) <= _MAX_CLAIM_CHARACTERS:
        raise InvalidToken(name)
    return value
