"""Access tokens (RFC 9068): how they are minted, and what one must say to be accepted.

python-jose signs and verifies; what it would accept too kindly is refused before, see
``compact_jws``. The time is always an argument.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Self

from jose import jwt

from auth_service.compact_jws import claimed_text, claimed_time, parse
from auth_service.exceptions import InvalidToken, TokenRefused
from auth_service.identifiers import new_identifier
from auth_service.keys import KeySource, SigningKey
from auth_service.models import parse_scope

MAX_LIFETIME_SECONDS = 3600
LEEWAY_SECONDS = 5
#: Of so many tokens a process remembers that it has verified them, some 3 MiB.
MAX_REMEMBERED = 4_096

_TYPES = frozenset({"at+jwt", "application/at+jwt"})
# Of tokens that are somebody else's, to be looked at only.
_OTHER_TYPES = frozenset({None, "jwt"})
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


@dataclass(frozen=True, slots=True)
class Inspected:
    """What a token says, whether it is to be believed or not.

    Args:
        header: ``alg``, ``typ`` and ``kid``, as they came.
        claims: As they came.
        refusal: Why it is not accepted, in one word; None if it is.
    """

    header: dict[str, object]
    claims: dict[str, object]
    refusal: str | None


@dataclass(frozen=True, slots=True)
class _Times:
    """When a token is good, in seconds since 1970.

    Args:
        issued_at: Its ``iat``.
        expires_at: Its ``exp``.
        not_before: Its ``nbf``, or its ``iat`` again if it has none.
    """

    issued_at: int
    expires_at: int
    not_before: int

    @classmethod
    def of(cls, claims: dict[str, object]) -> Self:
        issued_at, expires_at = claimed_time(claims, "iat"), claimed_time(claims, "exp")
        not_before = claimed_time(claims, "nbf") if "nbf" in claims else issued_at
        return cls(issued_at, expires_at, not_before)

    def check(self, now: float) -> None:
        if now >= self.expires_at + LEEWAY_SECONDS:
            raise InvalidToken("expired")
        if self.issued_at > now + LEEWAY_SECONDS:
            raise InvalidToken("iat")
        if not 0 < self.expires_at - self.issued_at <= MAX_LIFETIME_SECONDS:
            raise InvalidToken("exp")
        if self.not_before > now + LEEWAY_SECONDS:
            raise InvalidToken("nbf")


@dataclass(frozen=True, slots=True)
class _Verified:
    """A token whose signature was found good, so that only the times are to be looked at again.

    Args:
        key: Signed it.
        claims: What it says.
        times: When it is good.
    """

    key: SigningKey
    claims: Claims
    times: _Times


class AccessTokens:
    """Mints and reads this issuer's access tokens.

    A signature is verified once, for that is a third of the work of an introspection. What was good
    is found again by the SHA-256 of its text; the tokens themselves are not kept. Times and the
    key are looked at every time, and whoever asks looks up what was revoked.

    Args:
        keys: The signing key and all that verify.
        issuer: The ``iss``.
        audience: The ``aud``.
        lifetime_seconds: From ``iat`` to ``exp``, at most 3600.
    """

    def __init__(
        self, *, keys: KeySource, issuer: str, audience: str, lifetime_seconds: int
    ) -> None:
        self._keys = keys
        self._issuer = issuer
        self._audience = audience
        self._lifetime_seconds = lifetime_seconds
        # The one verified first stands first.
        self._verified: dict[bytes, _Verified] = {}

    def mint(
        self,
        *,
        sub: str,
        client_id: str,
        scopes: Collection[str],
        sid: str,
        now: float,
        after: int = 0,
        auth_time: int | None = None,
        name: str | None = None,
    ) -> AccessToken:
        """Sign a token.

        Args:
            sub: The user's opaque id, or ``client:ID`` for a service.
            client_id: The client that asks.
            scopes: What is granted, not empty.
            sid: The session it belongs to.
            now: Seconds since 1970.
            after: Tokens of this subject or client up to this ``iat`` were revoked; this one is
                dated later, by less than the leeway of whoever checks it.
            auth_time: When the user logged in; None for a service.
            name: The user's name, which others see in ``info``; None for a service.
        """
        issued_at = max(int(now), after + 1)
        jti = new_identifier()
        claims: dict[str, object] = {
            "iss": self._issuer,
            "aud": [self._audience],
            "exp": issued_at + self._lifetime_seconds,
            "iat": issued_at,
            "jti": jti,
            "sid": sid,
            "sub": sub,
            "client_id": client_id,
            "scope": " ".join(sorted(scopes)),
        }
        if auth_time is not None:
            claims["auth_time"] = auth_time
        if name is not None:
            claims["info"] = {"name": name}
        key = self._keys.at(now).signing
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

    def inspect(self, token: str, *, now: float) -> Inspected:
        """Take a token apart for a person, good or not; what was revoked is not looked up.

        Raises:
            TokenRefused: Its shape is not that of a token.
        """
        try:
            found = parse(token, types=_TYPES | _OTHER_TYPES)
            claims = found.claims()
        except Exception:  # noqa: BLE001 (as in `read`)
            raise TokenRefused("this is no signed token in compact form") from None
        try:
            self.read(token, now=now)
        except InvalidToken as error:
            return Inspected(found.header, claims, str(error))
        return Inspected(found.header, claims, None)

    def _read(self, token: str, now: float) -> Claims:
        # Texts that differ in a single character are different tokens here: `parse` lets only one
        # spelling pass, and nothing is remembered that did not.
        digest = hashlib.sha256(token.encode()).digest()
        verified = self._verified.get(digest)
        keys = self._keys.at(now).by_kid
        if verified is None or keys.get(verified.key.kid) is not verified.key:
            verified = self._verify(token, keys, now)
            while len(self._verified) >= MAX_REMEMBERED:
                del self._verified[next(iter(self._verified))]
            self._verified[digest] = verified
        else:
            verified.times.check(now)
        return verified.claims

    def _verify(self, token: str, keys: Mapping[str, SigningKey], now: float) -> _Verified:
        found = parse(token, types=_TYPES)
        kid = found.header.get("kid")
        if not isinstance(kid, str) or _KID.fullmatch(kid) is None:
            raise InvalidToken("kid")
        key = keys.get(kid)
        if key is None:
            raise InvalidToken("kid")
        found.verify(key.public, key.algorithm)
        claims = found.claims()
        times = _Times.of(claims)
        return _Verified(key, self._claims(claims, times, now), times)

    def _claims(self, claims: dict[str, object], times: _Times, now: float) -> Claims:
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
        times.check(now)
        sub, scope = claimed_text(claims, "sub"), claims.get("scope")
        if _SUBJECT.fullmatch(sub) is None:
            raise InvalidToken("sub")
        if not isinstance(scope, str) or parse_scope(scope) is None:
            raise InvalidToken("scope")
        return Claims(
            sub=sub,
            client_id=claimed_text(claims, "client_id"),
            scope=scope,
            jti=claimed_text(claims, "jti"),
            sid=claimed_text(claims, "sid"),
            issued_at=times.issued_at,
            expires_at=times.expires_at,
        )
