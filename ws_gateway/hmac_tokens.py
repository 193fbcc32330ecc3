"""Tokens that the operator's own backend signs with a shared secret: Centrifugo's profile.

The claims are Centrifugo's (protocol section 16), so that a backend written for it stays as it is.
Only HS256, HS384 and HS512 are ever accepted, whatever the header says.
"""

from __future__ import annotations

import hmac
import time
from collections.abc import Callable, Collection, Mapping
from dataclasses import replace
from math import inf
from typing import Any

from ws_gateway.claims import (
    MAX_CHANNELS,
    is_text,
    read_channels,
    read_grant,
    read_moment,
    read_payload,
    read_text,
)
from ws_gateway.credentials import Credentials, SubscriptionGrant
from ws_gateway.exceptions import InvalidToken, TokenExpired, TokenNotYetValid
from ws_gateway.jws import Parsed

_DIGESTS = {"HS256": "sha256", "HS384": "sha384", "HS512": "sha512"}


def check_signature(parsed: Parsed, secret: bytes) -> None:
    """Let a token pass that was signed with the secret.

    Raises:
        InvalidToken: It was not.
    """
    algorithm = parsed.header.get("alg")
    digest = _DIGESTS.get(algorithm) if isinstance(algorithm, str) else None
    if digest is None:
        raise InvalidToken("alg")
    if not hmac.compare_digest(hmac.digest(secret, parsed.signed, digest), parsed.signature):
        raise InvalidToken("signature")


def read_expiry(claims: Mapping[str, Any], now: float, leeway_seconds: float) -> float:
    """Return when that ends which the token begins, a connection or a subscription.

    ``exp`` is the end of the token itself, and of what it begins unless ``expire_at`` says
    otherwise, where 0 is never.

    Raises:
        InvalidToken: A date is none.
        TokenNotYetValid: It will be valid.
        TokenExpired: It is not valid any more.
    """
    expires = read_moment(claims, "exp") if "exp" in claims else inf
    explicit = read_moment(claims, "expire_at") if "expire_at" in claims else None
    if "nbf" in claims and read_moment(claims, "nbf") > now + leeway_seconds:
        raise TokenNotYetValid("nbf")
    if now >= expires:
        raise TokenExpired
    if explicit is None:
        return expires
    return explicit or inf


class HMACTokens:
    """Judges connection tokens of this profile.

    Args:
        secret: What they are signed with.
        prefixes: Those of the issuers' users, who must not be taken for these.
        now: The time of day in seconds since the epoch.
        leeway_seconds: How far the backend's clock may be ahead.
    """

    def __init__(
        self,
        secret: bytes,
        *,
        prefixes: Collection[str] = (),
        now: Callable[[], float] = time.time,
        leeway_seconds: float = 5,
    ) -> None:
        self._secret = secret
        self._prefixes = tuple(f"{prefix}." for prefix in prefixes if prefix)
        self._now = now
        self._leeway_seconds = leeway_seconds

    def verify(self, parsed: Parsed) -> Credentials:
        """Return what a good token says.

        Raises:
            InvalidToken: It is not accepted.
            TokenExpired: It was good once.
            TokenNotYetValid: It will be good.
        """
        check_signature(parsed, self._secret)
        claims = parsed.claims
        if "channel" in claims:
            raise InvalidToken("channel")  # a subscription token opens no connection
        user = read_user(claims)
        if user.startswith(self._prefixes):
            raise InvalidToken("sub")
        subs = _read_subs(claims.get("subs"))
        channels = () if claims.get("channels") is None else read_channels(claims["channels"])
        credentials = Credentials(
            user=user,
            client_id="",
            scopes=frozenset(),
            expires_at=inf,
            jti=read_text(claims, "jti") if "jti" in claims else "",
            sid="",
            issuer="",
            info=read_payload(claims, "info"),
            # What is said in ``subs`` wins over ``channels``.
            channels=tuple(dict.fromkeys((*channels, *subs))),
            subs=tuple(subs.items()),
            meta=read_payload(claims, "meta"),
        )
        # The time comes last: it makes a client ask for another token of the same kind, which
        # would not help one that is wrong in any other way.
        expires_at = read_expiry(claims, self._now(), self._leeway_seconds)
        return replace(credentials, expires_at=expires_at)


def read_user(claims: Mapping[str, Any]) -> str:
    """Return ``sub``; empty, or left out, for a guest."""
    subject = claims.get("sub", "")
    if subject != "" and not is_text(subject):
        raise InvalidToken("sub")
    return str(subject)


def _read_subs(value: object) -> dict[str, SubscriptionGrant]:
    if value is None:
        return {}
    if not isinstance(value, dict) or len(value) > MAX_CHANNELS:
        raise InvalidToken("subs")
    subs = {}
    for channel, said in value.items():
        if not is_text(channel) or not isinstance(said, dict):
            raise InvalidToken("subs")
        subs[channel] = read_grant(said, expires_at=inf)
    return subs
