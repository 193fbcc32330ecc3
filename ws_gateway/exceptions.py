"""The gateway's errors.

GatewayError
├── ReplyError            one command failed; its code goes into the reply
├── Disconnect            the connection ends with a close code
├── InvalidToken          a bearer token that is not accepted
│   └── TokenExpired      ... which was good once: the client should fetch a new one
├── KeysUnavailable       the issuer's keys cannot be had now; nothing is said about the token
├── HandshakeRejected     the door's answer: an HTTP status before the upgrade
├── BrokerUnavailable     the broker did not take it; nothing was published
└── ConfigurationError    the start stops with this one line
"""

from __future__ import annotations

from ws_gateway.codes import DisconnectCode, ErrorCode


class GatewayError(Exception):
    """The root: everything the gateway raises on purpose."""


class ReplyError(GatewayError):
    """A command failed and the connection goes on.

    Args:
        code: The protocol's error code, or a custom one of 400-1999 from a hook.
        message: Plain words; those of ``code`` where it is an ``ErrorCode``.
    """

    def __init__(self, code: ErrorCode | int, message: str | None = None) -> None:
        self.code = int(code)
        known = code if isinstance(code, ErrorCode) else None
        self.message = message or (known.message if known else "error")
        self.temporary = known.temporary if known else False
        super().__init__(f"{self.code} {self.message}")


class Disconnect(GatewayError):
    """A connection must end.

    Args:
        code: The close code to send.
        detail: What happened, for the log only.
    """

    def __init__(self, code: DisconnectCode, detail: str = "") -> None:
        self.code = code
        self.detail = detail
        super().__init__(f"{code.value} {detail or code.reason}")


class InvalidToken(GatewayError):
    """A token was not accepted.

    Args:
        reason: A short word for metrics and logs, such as ``signature``; never token text, never
            a library's message.
    """

    def __init__(self, reason: str) -> None:
        self.reason = reason
        super().__init__(reason)


class TokenExpired(InvalidToken):
    """A token of ours whose ``exp`` has passed."""

    def __init__(self) -> None:
        super().__init__("expired")


class KeysUnavailable(GatewayError):
    """The issuer's JWKS cannot be fetched and the ``kid`` is not known."""


class HandshakeRejected(GatewayError):
    """The handshake ends with an HTTP error instead of 101.

    Args:
        status: HTTP status code.
        detail: A sentence for the client; says nothing secret.
        headers: Further response headers, such as ``WWW-Authenticate``.
    """

    def __init__(self, status: int, detail: str, headers: dict[str, str] | None = None) -> None:
        self.status = status
        self.detail = detail
        self.headers = headers or {}
        super().__init__(f"{status} {detail}")


class BrokerUnavailable(GatewayError):
    """The broker is away; nothing was published or subscribed."""


class ConfigurationError(GatewayError):
    """A setting is missing, malformed or unsafe; the text names the variable."""
