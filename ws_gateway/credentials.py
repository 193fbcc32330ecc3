"""Who is at the other end of a connection."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Credentials:
    """What a verified access token says (RFC 9068), and nothing of the token itself.

    Attributes:
        user: ``sub``, with the issuer's prefix and a dot in front where one is configured.
        client_id: The OAuth2 client the token was issued to.
        scopes: The granted scopes.
        expires_at: ``exp``, seconds since the epoch.
        jti: The token's id, for revocation.
        sid: The session (refresh-token family) it belongs to; empty if the issuer has none.
        issuer: ``iss``.
        info: JSON text shown to others as ``conn_info``, or None.
        channels: Channels the issuer subscribes this user to.
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
