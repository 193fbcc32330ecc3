"""The judgement on an access token: its text in, ``Credentials`` or a refusal out.

The rules are those of RFC 9068 section 4 and RFC 8725, and stricter where python-jose alone is
lenient (``crit``, ``typ``, duplicate names, non-canonical base64, claims of the wrong type). So
only its keys are used: this module splits and parses the token once, and the very bytes it parsed
are what ``Key.verify`` is given. There is no second parser to disagree with the first.

    length, alphabet, canonical base64url
      → header: only alg, typ, kid, each once
      → payload: which issuer? (nothing else of it is believed yet)
      → kid → that issuer's key → its one algorithm
      → signature → claims → Credentials

A refusal is one ``InvalidToken`` with a word for metrics, whatever went wrong inside.
"""

from __future__ import annotations

import hashlib
import re
import sys
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Any
from urllib.parse import urlsplit

from msgspec import Struct

from ws_gateway.claims import read_channels, read_date, read_info, read_text
from ws_gateway.credentials import Credentials
from ws_gateway.exceptions import (
    ConfigurationError,
    InvalidToken,
    TokenExpired,
    TokenNotYetValid,
)
from ws_gateway.handshake import check_origins
from ws_gateway.hmac_tokens import HMACTokens
from ws_gateway.jwks import Fetch, JWKSCache, SigningKey, fetch_document
from ws_gateway.jws import MAX_TOKEN_CHARACTERS, Parsed, parse
from ws_gateway.revocations.deny_set import Kind
from ws_gateway.revocations.log import RevocationLog

__all__ = ["Issuer", "Verifier"]

_KID = re.compile(r"[A-Za-z0-9_-]{1,64}")
# RFC 6749 section 3.3: one blank between two scopes, none around them.
_SCOPE = re.compile(r"[\x21\x23-\x5b\x5d-\x7e]+( [\x21\x23-\x5b\x5d-\x7e]+)*")
_PREFIX = re.compile(r"[a-z0-9]{1,16}")
_RFC9068_TYPE = "at+jwt"
_FORGOTTEN_AT_ONCE = 16
_RESERVED_PREFIX = "client"  # ``client:ID`` is a service; one letter must not make a user of it


@dataclass(frozen=True, slots=True, kw_only=True)
class Issuer:
    """An authorization server whose access tokens are accepted.

    Attributes:
        issuer: Its ``iss``, compared character by character.
        jwks_url: Where it publishes its keys.
        audience: Our name in its ``aud``.
        user_prefix: Put in front of ``sub`` with a dot. With several issuers each needs its own,
            because ``sub`` is unique within one issuer only.
        revocations: Where it says which tokens have ended early: ``redis`` or a URL. None means
            that expiry alone counts. The gateway follows it; a verifier of one's own does not
            unless it is given the log.
        typ: Its tokens' ``typ``. With ``at+jwt`` the claims RFC 9068 requires are required.
        scope: The scope that opens a connection; empty if it has no such scope.
    """

    issuer: str
    jwks_url: str
    audience: str
    user_prefix: str = ""
    revocations: str | None = None
    typ: str = _RFC9068_TYPE
    scope: str = "connect"

    def user(self, subject: str) -> str:
        """Return how one of its users is called here."""
        return f"{self.user_prefix}.{subject}" if self.user_prefix else subject


@dataclass(frozen=True, slots=True)
class _Trust:
    """An issuer, what was prepared from its entry, and its keys."""

    issuer: Issuer
    types: frozenset[str]
    keys: JWKSCache


class _Verified(Struct, frozen=True, gc=False):
    """A judgement that is still good while the key is published and ``exp`` has not passed."""

    credentials: Credentials
    key: SigningKey


class Verifier:
    """Tells good access tokens from all others, for any number of issuers.

    Args:
        issuers: Whose tokens are accepted.
        origins: Whose pages may connect, spelled as in the ``Origin`` header.
        fetch: How to read a key set; by httpx2 if None.
        now: The time of day in seconds since the epoch.
        monotonic: A clock that never goes back, in seconds.
        max_token_seconds: The longest ``exp`` - ``iat`` accepted.
        leeway_seconds: How far the issuer's clock may be off.
        cache_size: How many verified tokens are remembered until they expire.
        on_fetch: Told the issuer, and whether it was good, after each fetch of a key set.
        hmac: Judges what is not of the issuers' profile; such tokens are refused if None.
        revocations: The logs that somebody follows, by issuer. Of an issuer without one, expiry
            alone counts.
        observe: Told the seconds that each judgement took, a refusal too.

    Raises:
        ConfigurationError: The issuers cannot be told apart, or an entry is malformed.
    """

    def __init__(
        self,
        issuers: Iterable[Issuer],
        *,
        origins: Iterable[str] = (),
        fetch: Fetch | None = None,
        now: Callable[[], float] = time.time,
        monotonic: Callable[[], float] = time.monotonic,
        max_token_seconds: int = 86_400,
        leeway_seconds: int = 5,
        cache_size: int = 10_000,
        on_fetch: Callable[[str, bool], None] | None = None,
        hmac: HMACTokens | None = None,
        revocations: Mapping[str, RevocationLog] | None = None,
        observe: Callable[[float], None] = lambda _seconds: None,
    ) -> None:
        self._observe = observe
        self.issuers = tuple(issuers)
        self.origins = check_origins(origins)
        _check_issuers(self.issuers)
        self._now = now
        self._max_token_seconds = max_token_seconds
        self._leeway_seconds = leeway_seconds
        self._cache_size = cache_size
        self._verified: dict[bytes, _Verified] = {}
        self._revocations = revocations or {}
        self._trusted = {
            issuer.issuer: _Trust(
                issuer=issuer,
                # RFC 7515 section 4.1.9: ``application/`` may be left out.
                types=frozenset({issuer.typ.lower(), f"application/{issuer.typ.lower()}"}),
                keys=JWKSCache(
                    issuer.jwks_url,
                    fetch=fetch or fetch_document,
                    monotonic=monotonic,
                    on_fetch=_report_to(on_fetch, issuer.issuer),
                ),
            )
            for issuer in self.issuers
        }
        self._hmac = hmac
        self._types = frozenset().union(*(trust.types for trust in self._trusted.values()))

    @property
    def remembered(self) -> int:
        """How many verified tokens are remembered; expired ones go when another one comes."""
        return len(self._verified)

    @property
    def ready(self) -> bool:
        """Whether every issuer's keys have been fetched at least once."""
        return all(trust.keys.loaded for trust in self._trusted.values())

    async def load_keys(self) -> bool:
        """Fetch all key sets ahead of the first token; return whether all are known now."""
        for trust in self._trusted.values():
            await trust.keys.refresh()
        return self.ready

    async def aclose(self) -> None:
        """Stop fetching keys."""
        for trust in self._trusted.values():
            await trust.keys.aclose()

    def required_scope(self, credentials: Credentials) -> str:
        """Return the scope these credentials need to connect; empty if none."""
        trust = self._trusted.get(credentials.issuer)
        return "" if trust is None else trust.issuer.scope

    def revoked(self, credentials: Credentials) -> Kind | None:
        """Say by what credentials that were verified before are denied now, None if by nothing."""
        log = self._revocations.get(credentials.issuer)
        return None if log is None else log.find(credentials)

    def has_seen(self, token: str) -> bool:
        """Say whether this process has accepted a token before, and would look no closer now.

        Of tokens that one's own backend signs it remembers none.
        """
        if len(token) > MAX_TOKEN_CHARACTERS or not token.isascii():
            return False
        verified = self._verified.get(hashlib.sha256(token.encode("ascii")).digest())
        return verified is not None and self._now() < verified.credentials.expires_at

    async def verify(self, token: str) -> Credentials:
        """Return what a good access token says.

        It completes without suspending unless the token's key must be fetched first.

        Raises:
            InvalidToken: It is not accepted.
            TokenExpired: It was good once; TokenRevoked: and might have been longer.
            TokenNotYetValid: It will be good.
            SessionEnded: It was good once, and no other of its session is any more.
            KeysUnavailable: The issuer's keys cannot be had now.
            RevocationsUnavailable: Nor what it has revoked.
        """
        began = time.perf_counter()
        try:
            # Nothing may cost more than a few microseconds before these two tests.
            if type(token) is not str or len(token) > MAX_TOKEN_CHARACTERS or not token.isascii():
                raise InvalidToken("malformed")
            # Only a token in its one canonical spelling was ever remembered, so that the digest of
            # its text names it; the text itself is not kept.
            digest = hashlib.sha256(token.encode("ascii")).digest()
            verified = self._verified.get(digest)
            if verified is not None:
                credentials = verified.credentials
                if (
                    self._now() < credentials.expires_at + self._leeway_seconds
                    and self._trusted[credentials.issuer].keys.cached(credentials.kid)
                    is verified.key
                ):
                    self._check_revoked(credentials)
                    return credentials
                del self._verified[digest]
            return await self._verify(token, digest)
        finally:
            self._observe(time.perf_counter() - began)

    async def _verify(self, token: str, digest: bytes) -> Credentials:
        parsed = parse(token)
        if self._hmac is not None and not self._is_issuers(parsed.header):
            return self._hmac.verify(parsed)
        trust, kid = self._find_issuer(parsed)
        key = trust.keys.cached(kid) or await trust.keys.find(kid)
        if key is None:
            raise InvalidToken("unknown_kid")
        credentials = self._judge(parsed, key, trust.issuer)
        self._remember(digest, _Verified(credentials, key))
        # The last thing: between this and the caller nothing can be revoked.
        self._check_revoked(credentials)
        return credentials

    def _check_revoked(self, credentials: Credentials) -> None:
        log = self._revocations.get(credentials.issuer)
        if log is not None:
            log.check(credentials)

    def _is_issuers(self, header: Mapping[str, Any]) -> bool:
        """Whether a token is of the issuers' profile; ``alg`` alone never says."""
        typ = header.get("typ")
        return "kid" in header and isinstance(typ, str) and typ.lower() in self._types

    def _find_issuer(self, parsed: Parsed) -> tuple[_Trust, str]:
        """Return who has issued a token and with which key, by its own account."""
        header, issuer = parsed.header, parsed.claims.get("iss")
        algorithm, typ, kid = header.get("alg"), header.get("typ"), header.get("kid")
        if not isinstance(algorithm, str):
            raise InvalidToken("alg")
        if not isinstance(typ, str):
            raise InvalidToken("typ")
        if not isinstance(kid, str) or _KID.fullmatch(kid) is None:
            raise InvalidToken("kid")
        trust = self._trusted.get(issuer) if isinstance(issuer, str) else None
        if trust is None:
            raise InvalidToken("issuer")
        if typ.lower() not in trust.types:
            raise InvalidToken("typ")
        return trust, kid

    def _judge(self, parsed: Parsed, key: SigningKey, issuer: Issuer) -> Credentials:
        """Return what a token says that ``key`` signed and whose claims are in order."""
        if parsed.header["alg"] != key.algorithm:
            raise InvalidToken("alg")
        try:
            signed = key.key.verify(parsed.signed, parsed.signature)
            credentials = self._read_claims(parsed.claims, issuer, key.kid) if signed else None
        except InvalidToken:
            raise
        except Exception:  # noqa: BLE001  # no token raises anything else, or a library's words
            raise InvalidToken("malformed") from None
        if credentials is None:
            raise InvalidToken("signature")
        # The time comes last: it makes a client ask for another token of the same kind, which
        # would not help one that is wrong in any other way.
        now = self._now()
        if credentials.issued_at > now + self._leeway_seconds:
            raise TokenNotYetValid("iat")
        if parsed.claims.get("nbf", 0) > now + self._leeway_seconds:
            raise TokenNotYetValid("nbf")
        if now >= credentials.expires_at + self._leeway_seconds:
            raise TokenExpired
        return credentials

    def _remember(self, digest: bytes, verified: _Verified) -> None:
        # A dict keeps its order, so the first one is the oldest, and mostly the first to expire:
        # tokens of one issuer live equally long.
        expired = self._now() - self._leeway_seconds
        # Some for each that comes: thousands at once would keep everybody else waiting.
        forgotten: list[bytes] = []
        for oldest, known in self._verified.items():
            full = len(self._verified) - len(forgotten) >= self._cache_size
            if not full and known.credentials.expires_at > expired:
                break
            forgotten.append(oldest)
            if len(forgotten) == _FORGOTTEN_AT_ONCE:
                break
        for oldest in forgotten:
            del self._verified[oldest]
        self._verified[digest] = verified

    def _read_claims(self, claims: dict[str, Any], issuer: Issuer, kid: str) -> Credentials:
        """Return what the claims of a rightly signed token say, whatever the time is."""
        strict = issuer.typ.lower() == _RFC9068_TYPE
        expires_at, issued_at = read_date(claims, "exp"), read_date(claims, "iat")
        if "nbf" in claims:
            read_date(claims, "nbf")
        if not 0 < expires_at - issued_at <= self._max_token_seconds:
            raise InvalidToken("lifetime")
        if not _has_audience(claims.get("aud"), issuer.audience):
            raise InvalidToken("aud")
        if "cnf" in claims:
            # The token is bound to a key (RFC 7800) whose possession is not proved here.
            raise InvalidToken("cnf")
        subject = read_text(claims, "sub")
        named = strict or "client_id" in claims
        return Credentials(
            user=issuer.user(subject),
            client_id=sys.intern(read_text(claims, "client_id")) if named else "",
            scopes=_scopes(claims, required=strict or bool(issuer.scope)),
            expires_at=float(expires_at),
            jti=read_text(claims, "jti"),
            sid=read_text(claims, "sid") if "sid" in claims else "",
            issuer=issuer.issuer,
            info=read_info(claims["info"]) if "info" in claims else None,
            channels=read_channels(claims["channels"]) if "channels" in claims else (),
            subject=subject,
            issued_at=issued_at,
            kid=kid,
        )


def _check_issuers(issuers: tuple[Issuer, ...]) -> None:
    for entry in issuers:
        try:
            url = urlsplit(entry.jwks_url)
        except ValueError:
            url = urlsplit("")
        if not entry.issuer or not entry.audience or not entry.typ:
            raise ConfigurationError("issuers: issuer, audience and typ must not be empty")
        if url.scheme not in {"https", "http"} or not url.hostname:
            raise ConfigurationError(f"issuers: jwks_url of {entry.issuer} is not an http(s) URL")
        prefix = entry.user_prefix
        if prefix == _RESERVED_PREFIX or (prefix and _PREFIX.fullmatch(prefix) is None):
            raise ConfigurationError(
                f"issuers: user_prefix of {entry.issuer} must be [a-z0-9]{{1,16}} and not 'client'"
            )
    if len({entry.issuer for entry in issuers}) < len(issuers):
        raise ConfigurationError("issuers: an issuer is named twice")
    prefixes = {entry.user_prefix for entry in issuers}
    if len(issuers) > 1 and (len(prefixes) < len(issuers) or "" in prefixes):
        raise ConfigurationError("issuers: with several issuers each needs its own user_prefix")


def _report_to(
    on_fetch: Callable[[str, bool], None] | None, issuer: str
) -> Callable[[bool], None] | None:
    return None if on_fetch is None else lambda good: on_fetch(issuer, good)


def _has_audience(value: object, audience: str) -> bool:
    """Tell whether we are meant; one name may stand alone (RFC 7519 section 4.1.3)."""
    if isinstance(value, str):
        return value == audience
    if not isinstance(value, list) or audience not in value:
        return False
    return len(value) == 1 or all(isinstance(one, str) for one in value)


def _scopes(claims: Mapping[str, Any], *, required: bool) -> frozenset[str]:
    value = claims.get("scope")
    if value is None and not required and "scope" not in claims:
        return frozenset()
    if not isinstance(value, str) or _SCOPE.fullmatch(value) is None:
        raise InvalidToken("scope")
    return _split_scopes(value)


@lru_cache(256)
def _split_scopes(value: str) -> frozenset[str]:
    # Most tokens have the same, and each connection holds what its token said.
    return frozenset(value.split(" "))
