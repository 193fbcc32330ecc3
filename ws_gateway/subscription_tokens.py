"""Tokens for one subscription, signed by the operator's backend (protocol section 16.2)."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from math import inf

from ws_gateway.claims import read_grant, read_text
from ws_gateway.credentials import SubscriptionGrant
from ws_gateway.exceptions import InvalidToken
from ws_gateway.hmac_tokens import check_signature, read_expiry, read_user
from ws_gateway.jws import parse

_UNBOUND = ""


@dataclass(frozen=True, slots=True)
class SubscriptionToken:
    """What a good one says.

    Attributes:
        channel: The channel it opens.
        user: For whom; empty for a guest.
        client: For which connection alone; empty for any of the user's.
        grant: What it says of the subscription.
    """

    channel: str
    user: str
    client: str
    grant: SubscriptionGrant

    def is_for(self, *, channel: str, user: str, client: str) -> bool:
        """Whether it opens this channel to this user's connection."""
        return self.channel == channel and self.user == user and self.client in (_UNBOUND, client)


class SubscriptionTokens:
    """Judges them.

    Args:
        secret: What they are signed with.
        now: The time of day in seconds since the epoch.
        leeway_seconds: How far the backend's clock may be ahead.
    """

    def __init__(
        self,
        secret: bytes,
        *,
        now: Callable[[], float] = time.time,
        leeway_seconds: float = 5,
    ) -> None:
        self._secret = secret
        self._now = now
        self._leeway_seconds = leeway_seconds

    def verify(self, token: str) -> SubscriptionToken:
        """Return what a good token says.

        Raises:
            InvalidToken: It is not accepted.
            TokenExpired: It was good once.
            TokenNotYetValid: It will be good.
        """
        parsed = parse(token)
        check_signature(parsed, self._secret)
        claims = parsed.claims
        channel, user = read_text(claims, "channel"), read_user(claims)
        client = claims.get("client", _UNBOUND)
        if not isinstance(client, str):
            raise InvalidToken("client")
        grant = read_grant(claims, expires_at=inf)
        expires_at = read_expiry(claims, self._now(), self._leeway_seconds)
        return SubscriptionToken(channel, user, client, replace(grant, expires_at=expires_at))
