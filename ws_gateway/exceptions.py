"""The gateway's errors.

GatewayError
├── ReplyError            one command failed; its code goes into the reply
├── Disconnect            the connection ends with a close code
├── InvalidToken          a bearer token that is not accepted
│   ├── TokenExpired      ... which was good once: the client should fetch a new one
│   │   └── TokenRevoked  ... as if it had expired: it alone was revoked, or its key
│   ├── TokenNotYetValid  ... which may be good soon: its issuer's clock is ahead of ours
│   └── SessionEnded      ... and no other of the session is: logged out, or shut out
├── CannotVerify          nothing can be said about a token now
│   ├── KeysUnavailable   ... without the issuer's keys
│   └── RevocationsUnavailable  ... without its revocation log
├── LogUnreadable         a revocation log is away, or is not what it should be
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
        code: The close code to send, or one of 4000-4999 from a hook.
        detail: What happened, for the log only.
        reason: Plain words for the client; those of ``code`` where it is a ``DisconnectCode``.
    """

    def __init__(self, code: DisconnectCode | int, detail: str = "", *, reason: str = "") -> None:
        self.code = code
        self.detail = detail
        self.reason = reason or (code.reason if isinstance(code, DisconnectCode) else "")
        super().__init__(f"{int(code)} {detail or self.reason}")


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
    """A token of ours whose ``exp`` has passed.

    Args:
        reason: See InvalidToken.
    """

    def __init__(self, reason: str = "expired") -> None:
        super().__init__(reason)


class TokenRevoked(TokenExpired):
    """A token that was revoked before its ``exp``, alone or with its key."""

    def __init__(self) -> None:
        super().__init__("revoked")


class TokenNotYetValid(InvalidToken):
    """A token of ours that begins in the future, by more than clocks may differ.

    Args:
        reason: The claim that says so, ``iat`` or ``nbf`` (RFC 7519 section 4.1).

    Attributes:
        message: In plain words, for the client.
    """

    message = "token not valid yet"


class SessionEnded(InvalidToken):
    """A token whose session, user or client may not come in any more."""

    def __init__(self) -> None:
        super().__init__("session_ended")


class CannotVerify(GatewayError):
    """Whether a token is good cannot be found out now."""


class KeysUnavailable(CannotVerify):
    """The issuer's JWKS cannot be fetched and the ``kid`` is not known."""


class RevocationsUnavailable(CannotVerify):
    """The issuer's revocation log was not read for too long, or not yet."""


class LogUnreadable(GatewayError):
    """A revocation log is away, or is not what it should be.

    Args:
        reason: In words without secrets.
    """

    def __init__(self, reason: str) -> None:
        self.reason = reason
        super().__init__(reason)


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
