"""The numbers of the client protocol: error, unsubscribe and disconnect codes.

Numbers, reasons and the "temporary" flag are Centrifuge's (client protocol v2), so that the
official SDKs react to them as they do to Centrifugo; 1404 is ours.

A disconnect travels as the WebSocket close code. SDKs reconnect after every code except
3500-3999, 4500-4999 and 1009, and apply that rule only if the reason is not empty.
"""

from __future__ import annotations

from enum import IntEnum
from typing import Self


class ErrorCode(IntEnum):
    """Why one command failed; the connection goes on.

    Attributes:
        message: Plain words for the reply.
        temporary: The same command may succeed later; SDKs retry by themselves.
    """

    message: str
    temporary: bool

    def __new__(cls, code: int, message: str, temporary: bool = False) -> Self:
        """Make a member of its number and what belongs to it."""
        member = int.__new__(cls, code)
        member._value_ = code
        member.message = message
        member.temporary = temporary
        return member

    INTERNAL = 100, "internal server error", True
    UNAUTHORIZED = 101, "unauthorized"
    UNKNOWN_CHANNEL = 102, "unknown channel"
    PERMISSION_DENIED = 103, "permission denied"
    METHOD_NOT_FOUND = 104, "method not found"
    ALREADY_SUBSCRIBED = 105, "already subscribed"
    LIMIT_EXCEEDED = 106, "limit exceeded"
    BAD_REQUEST = 107, "bad request"
    NOT_AVAILABLE = 108, "not available"
    TOKEN_EXPIRED = 109, "token expired"
    EXPIRED = 110, "expired"
    TOO_MANY_REQUESTS = 111, "too many requests", True
    UNRECOVERABLE_POSITION = 112, "unrecoverable position"
    NOT_CONNECTED = 1404, "not connected"


class UnsubscribeCode(IntEnum):
    """Why the server ended a subscription; SDKs subscribe again from 2500 on.

    Attributes:
        reason: Plain words, never empty.
    """

    reason: str

    def __new__(cls, code: int, reason: str) -> Self:
        """Make a member of its number and what belongs to it."""
        member = int.__new__(cls, code)
        member._value_ = code
        member.reason = reason
        return member

    SERVER = 2000, "server unsubscribe"
    INSUFFICIENT_STATE = 2500, "insufficient state"
    EXPIRED = 2501, "subscription expired"


class DisconnectCode(IntEnum):
    """Why a connection was closed.

    Attributes:
        reason: Never empty and never JSON, or SDKs misread it (at most 123 bytes, RFC 6455 5.5).
    """

    reason: str

    def __new__(cls, code: int, reason: str) -> Self:
        """Make a member of its number and what belongs to it."""
        member = int.__new__(cls, code)
        member._value_ = code
        member.reason = reason
        return member

    # RFC 6455 section 7.4.1
    NORMAL = 1000, "normal closure"
    PROTOCOL_ERROR = 1002, "protocol error"
    INVALID_UTF8 = 1007, "invalid utf-8"
    MESSAGE_TOO_BIG = 1009, "message too big"
    # Reconnect.
    SHUTDOWN = 3001, "shutdown"
    INTERNAL = 3004, "internal server error"
    EXPIRED = 3005, "connection expired"
    SUBSCRIPTION_EXPIRED = 3006, "subscription expired"
    SLOW = 3008, "slow"
    INSUFFICIENT_STATE = 3010, "insufficient state"
    FORCE_RECONNECT = 3011, "force reconnect"
    NO_PONG = 3012, "no pong"
    TOO_MANY_REQUESTS = 3013, "too many requests"
    # Terminal.
    INVALID_TOKEN = 3500, "invalid token"
    BAD_REQUEST = 3501, "bad request"
    STALE = 3502, "stale"
    FORCE_DISCONNECT = 3503, "force disconnect"
    CONNECTION_LIMIT = 3504, "connection limit"
    CHANNEL_LIMIT = 3505, "channel limit"
    INAPPROPRIATE_PROTOCOL = 3506, "inappropriate protocol"
    PERMISSION_DENIED = 3507, "permission denied"
    NOT_AVAILABLE = 3508, "not available"
