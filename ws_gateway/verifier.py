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

import base64
import hashlib
import json
import re
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any, NoReturn
from urllib.parse import urlsplit

from ws_gateway.credentials import Credentials
from ws_gateway.exceptions import ConfigurationError, InvalidToken, TokenExpired
from ws_gateway.handshake import check_origins
from ws_gateway.jwks import Fetch, JWKSCache, SigningKey, fetch_document

__all__ = ["Issuer", "Verifier"]

MAX_TOKEN_CHARACTERS = 4096
MAX_TEXT_CHARACTERS = 255
MAX_INFO_BYTES = 1024
MAX_CHANNELS = 128
_MAX_DATE = 2**53  # the integers JSON carries safely (RFC 8259 section 6)

# The header is at most 512 bytes, so that it cannot be nested deeply.
_COMPACT = re.compile(r"([A-Za-z0-9_-]{2,683})\.([A-Za-z0-9_-]{2,})\.([A-Za-z0-9_-]{20,})")
_KID = re.compile(r"[A-Za-z0-9_-]{1,64}")
# RFC 6749 section 3.3: one blank between two scopes, none around them.
_SCOPE = re.compile(r"[\x21\x23-\x5b\x5d-\x7e]+( [\x21\x23-\x5b\x5d-\x7e]+)*")
# Control characters, and surrogates, which no UTF-8 text can hold.
_UNPRINTABLE = re.compile(r"[\x00-\x1f\x7f-\x9f\ud800-\udfff]")
_PREFIX = re.compile(r"[a-z0-9]{1,16}")
_RFC9068_TYPE = "at+jwt"
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
            that expiry alone counts.
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


@dataclass(frozen=True, slots=True)
class _Trust:
    """An issuer, what was prepared from its entry, and its keys."""

    issuer: Issuer
    types: frozenset[str]
    keys: JWKSCache


@dataclass(frozen=True, slots=True)
class _Verified:
    """A judgement that is still good while the key is published and ``exp`` has not passed."""

    credentials: Credentials
    key: SigningKey
    keys: JWKSCache


@dataclass(frozen=True, slots=True)
class _Parsed:
    """A token's parts, none of which is believed yet."""

    signed: bytes
    signature: bytes
    algorithm: str
    typ: str
    kid: str
    issuer: str
    claims: dict[str, Any]


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
    ) -> None:
        self.issuers = tuple(issuers)
        self.origins = check_origins(origins)
        _check_issuers(self.issuers)
        self._now = now
        self._max_token_seconds = max_token_seconds
        self._leeway_seconds = leeway_seconds
        self._cache_size = cache_size
        self._verified: dict[bytes, _Verified] = {}
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
        return self._trusted[credentials.issuer].issuer.scope

    async def verify(self, token: str) -> Credentials:
        """Return what a good access token says.

        It completes without suspending unless the token's key must be fetched first.

        Raises:
            InvalidToken: It is not accepted.
            TokenExpired: It was good once.
            KeysUnavailable: The issuer's keys cannot be had now.
        """
        # Nothing may cost more than a few microseconds before these two tests.
        if type(token) is not str or len(token) > MAX_TOKEN_CHARACTERS or not token.isascii():
            raise InvalidToken("malformed")
        # Only a token in its one canonical spelling was ever remembered, so that the digest of its
        # text names it; the text itself is not kept.
        digest = hashlib.sha256(token.encode("ascii")).digest()
        verified = self._verified.get(digest)
        if verified is not None:
            credentials = verified.credentials
            if (
                self._now() < credentials.expires_at + self._leeway_seconds
                and verified.keys.cached(verified.key.kid) is verified.key
            ):
                return credentials
            del self._verified[digest]

        parsed = _parse(token)
        trust = self._trusted.get(parsed.issuer)
        if trust is None:
            raise InvalidToken("issuer")
        if parsed.typ.lower() not in trust.types:
            raise InvalidToken("typ")
        key = await trust.keys.find(parsed.kid)
        if key is None:
            raise InvalidToken("unknown_kid")
        credentials = self._judge(parsed, key, trust.issuer)
        self._remember(digest, _Verified(credentials, key, trust.keys))
        return credentials

    def _judge(self, parsed: _Parsed, key: SigningKey, issuer: Issuer) -> Credentials:
        """Return what a token says that ``key`` signed and whose claims are in order."""
        if parsed.algorithm != key.algorithm:
            raise InvalidToken("alg")
        try:
            signed = key.key.verify(parsed.signed, parsed.signature)
            credentials = self._read_claims(parsed.claims, issuer) if signed else None
        except InvalidToken:
            raise
        except Exception:  # noqa: BLE001  # no token raises anything else, or a library's words
            raise InvalidToken("malformed") from None
        if credentials is None:
            raise InvalidToken("signature")
        # Expiry comes last: TokenExpired makes a client ask for another token of the same kind,
        # which would not help one that is wrong in any other way.
        if self._now() >= credentials.expires_at + self._leeway_seconds:
            raise TokenExpired
        return credentials

    def _remember(self, digest: bytes, verified: _Verified) -> None:
        if len(self._verified) >= self._cache_size:
            # A dict keeps its order, so the first one is the oldest.
            del self._verified[next(iter(self._verified))]
        self._verified[digest] = verified

    def _read_claims(self, claims: dict[str, Any], issuer: Issuer) -> Credentials:
        """Return what the claims of a rightly signed token say; expiry is judged elsewhere."""
        strict = issuer.typ.lower() == _RFC9068_TYPE
        expires_at, issued_at = _date(claims, "exp"), _date(claims, "iat")
        latest = self._now() + self._leeway_seconds
        if issued_at > latest:
            raise InvalidToken("iat")
        if "nbf" in claims and _date(claims, "nbf") > latest:
            raise InvalidToken("nbf")
        if not 0 < expires_at - issued_at <= self._max_token_seconds:
            raise InvalidToken("lifetime")
        if not _has_audience(claims.get("aud"), issuer.audience):
            raise InvalidToken("aud")
        if "cnf" in claims:
            # The token is bound to a key (RFC 7800) whose possession is not proved here.
            raise InvalidToken("cnf")
        subject = _text(claims, "sub")
        return Credentials(
            user=f"{issuer.user_prefix}.{subject}" if issuer.user_prefix else subject,
            client_id=_text(claims, "client_id") if strict or "client_id" in claims else "",
            scopes=_scopes(claims, required=strict or bool(issuer.scope)),
            expires_at=float(expires_at),
            jti=_text(claims, "jti"),
            sid=_text(claims, "sid") if "sid" in claims else "",
            issuer=issuer.issuer,
            info=_info(claims["info"]) if "info" in claims else None,
            channels=_channels(claims["channels"]) if "channels" in claims else (),
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


def _parse(token: str) -> _Parsed:
    """Return the parts of a canonical compact JWS (RFC 7515 section 7.1)."""
    match = _COMPACT.fullmatch(token)
    if match is None:
        raise InvalidToken("malformed")
    try:
        header = _read_object(_decode(match[1]))
        claims = _read_object(_decode(match[2]))
        signature = _decode(match[3])
    except Exception:  # noqa: BLE001  # among them RecursionError, from a deeply nested payload
        raise InvalidToken("malformed") from None
    if not header.keys() <= {"alg", "typ", "kid"}:
        # Above all ``crit``, which asks to be refused where it is not understood (RFC 7515 section
        # 4.1.11), and everything that would bring its own key.
        raise InvalidToken("header")
    algorithm, typ, kid = header.get("alg"), header.get("typ"), header.get("kid")
    if not isinstance(algorithm, str):
        raise InvalidToken("alg")
    if not isinstance(typ, str):
        raise InvalidToken("typ")
    if not isinstance(kid, str) or _KID.fullmatch(kid) is None:
        raise InvalidToken("kid")
    issuer = claims.get("iss")
    if not isinstance(issuer, str):
        raise InvalidToken("issuer")
    signed = token[: match.end(2)].encode("ascii")
    return _Parsed(signed, signature, algorithm, typ, kid, issuer, claims)


def _decode(segment: str) -> bytes:
    """Decode base64url, accepting only the one way to write these bytes (RFC 4648 section 3.5)."""
    decoded = base64.urlsafe_b64decode(segment + "=" * (-len(segment) % 4))
    if base64.urlsafe_b64encode(decoded).rstrip(b"=") != segment.encode("ascii"):
        raise ValueError("not canonical")
    return decoded


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """Build an object whose names occur once (RFC 7519 section 4, RFC 7515 section 4)."""
    built = dict(pairs)
    if len(built) < len(pairs):
        raise ValueError("duplicate name")
    return built


def _refuse_constant(name: str) -> NoReturn:
    raise ValueError(name)


# Prepared once; NaN and Infinity are no JSON.
_DECODER = json.JSONDecoder(object_pairs_hook=_unique, parse_constant=_refuse_constant)


def _read_object(text: bytes) -> dict[str, Any]:
    # ``json.loads`` would guess UTF-16 from bytes.
    parsed = _DECODER.decode(str(text, "utf-8"))
    if not isinstance(parsed, dict):
        raise ValueError("not an object")  # noqa: TRY004  # wrong data, not a wrong call
    return parsed


def _date(claims: Mapping[str, Any], name: str) -> int:
    """Return a NumericDate, whole seconds only; a bool is an int to Python, but not here."""
    value = claims.get(name)
    if type(value) is not int or not 0 < value < _MAX_DATE:
        raise InvalidToken(name)
    return value


def _is_text(value: object) -> bool:
    return (
        isinstance(value, str)
        and 0 < len(value) <= MAX_TEXT_CHARACTERS
        and _UNPRINTABLE.search(value) is None
    )


def _text(claims: Mapping[str, Any], name: str) -> str:
    value = claims.get(name)
    if not _is_text(value):
        raise InvalidToken(name)
    return str(value)


def _has_audience(value: object, audience: str) -> bool:
    """Tell whether we are meant; one name may stand alone (RFC 7519 section 4.1.3)."""
    if isinstance(value, str):
        return value == audience
    return isinstance(value, list) and all(isinstance(v, str) for v in value) and audience in value


def _scopes(claims: Mapping[str, Any], *, required: bool) -> frozenset[str]:
    value = claims.get("scope")
    if value is None and not required and "scope" not in claims:
        return frozenset()
    if not isinstance(value, str) or _SCOPE.fullmatch(value) is None:
        raise InvalidToken("scope")
    return frozenset(value.split(" "))


def _info(value: object) -> bytes:
    """Return the claim as compact JSON, ready to be copied into what others are sent."""
    if not isinstance(value, dict):
        raise InvalidToken("info")
    try:
        # Refused here: 1e999, which became infinity, and surrogates, which are no UTF-8.
        text = json.dumps(value, ensure_ascii=False, allow_nan=False, separators=(",", ":"))
        info = text.encode("utf-8")
    except ValueError:
        raise InvalidToken("info") from None
    if len(info) > MAX_INFO_BYTES:
        raise InvalidToken("info")
    return info


def _channels(value: object) -> tuple[str, ...]:
    if not isinstance(value, list) or len(value) > MAX_CHANNELS or not all(map(_is_text, value)):
        raise InvalidToken("channels")
    return tuple(dict.fromkeys(value))
