"""Who is at the other end of a connection, and what the token says of its subscriptions."""

from __future__ import annotations

from dataclasses import dataclass
from math import inf

OVERRIDABLE = (
    "presence",
    "join_leave",
    "force_push_join_leave",
    "force_recovery",
    "force_positioning",
)
"""The channel options that a token may set for one subscription."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SubscriptionGrant:
    """What a token, or the operator's hook, says of one subscription.

    Attributes:
        info: JSON text shown to others as ``chan_info``, or None.
        data: JSON text for the client itself, in the subscribe reply, or None.
        override: Channel options, of ``OVERRIDABLE``, that differ for this subscription.
        expires_at: When it ends, seconds since the epoch.
    """

    info: bytes | None = None
    data: bytes | None = None
    override: tuple[tuple[str, bool], ...] = ()
    expires_at: float = inf


@dataclass(frozen=True, slots=True)
class Credentials:
    """What a verified access token says (RFC 9068), and nothing of the token itself.

    Attributes:
        user: ``sub``, with the issuer's prefix and a dot in front where one is configured; empty
            for a guest.
        client_id: The OAuth2 client the token was issued to.
        scopes: The granted scopes.
        expires_at: ``exp``, seconds since the epoch.
        jti: The token's id, for revocation.
        sid: The session (refresh-token family) it belongs to; empty if the issuer has none.
        issuer: ``iss``; empty for a guest, or a token signed with our own secret.
        info: JSON text shown to others as ``conn_info``, or None.
        channels: Channels the issuer subscribes this user to.
        subs: What is said of some of those channels.
        meta: JSON text for the operator's hooks alone, or None.
        subject: ``sub`` as the token has it, for revocation.
        issued_at: ``iat``, seconds since the epoch.
        kid: The name of the key that signed the token.
    """

    user: str
    client_id: str
    scopes: frozenset[str]
    expires_at: float
    jti: str
    sid: str
    issuer: str
    info: bytes | None = None
    channels: tuple[str, ...] = ()
    subs: tuple[tuple[str, SubscriptionGrant], ...] = ()
    meta: bytes | None = None
    subject: str = ""
    issued_at: int = 0
    kid: str = ""


GUEST = Credentials(
    user="", client_id="", scopes=frozenset(), expires_at=inf, jti="", sid="", issuer=""
)
"""Whoever comes without a credential, where that is allowed."""
