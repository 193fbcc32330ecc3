"""The gateway's errors carry what an answer or a log line needs."""

from __future__ import annotations

import pytest

from ws_gateway import exceptions
from ws_gateway.codes import DisconnectCode, ErrorCode
from ws_gateway.exceptions import (
    BrokerUnavailable,
    CannotVerify,
    ConfigurationError,
    Disconnect,
    GatewayError,
    HandshakeRejected,
    InvalidToken,
    KeysUnavailable,
    LogUnreadable,
    ReplyError,
    RevocationsUnavailable,
    SessionEnded,
    TokenExpired,
    TokenRevoked,
)


class TestTree:
    """The drawing in the module's docstring."""

    def test_every_error_is_a_gateway_error(self) -> None:
        """One root, so that what is raised on purpose can be told from a bug."""
        classes = [
            value
            for value in vars(exceptions).values()
            if isinstance(value, type) and issubclass(value, Exception)
        ]

        assert len(classes) == 15
        assert all(issubclass(value, GatewayError) for value in classes)

    def test_an_expired_token_is_an_invalid_one(self) -> None:
        """Whoever does not offer a refresh handles both alike."""
        assert issubclass(TokenExpired, InvalidToken)
        assert TokenExpired().reason == "expired"

    def test_a_revoked_token_is_as_good_as_expired(self) -> None:
        """The client fetches another one; after the end of the session it must not try."""
        assert issubclass(TokenRevoked, TokenExpired)
        assert TokenRevoked().reason == "revoked"
        assert not issubclass(SessionEnded, TokenExpired)
        assert SessionEnded().reason == "session_ended"

    def test_what_cannot_be_verified_is_not_called_invalid(self) -> None:
        """Nothing is known about the token, so nothing is said."""
        for error in (KeysUnavailable, RevocationsUnavailable):
            assert issubclass(error, CannotVerify)
            assert not issubclass(error, InvalidToken)

    def test_the_drawing_names_every_error(self) -> None:
        """The docstring is what a reader sees first."""
        drawing = exceptions.__doc__ or ""

        for name in (BrokerUnavailable, ConfigurationError, KeysUnavailable, LogUnreadable):
            assert name.__name__ in drawing


class TestReplyError:
    """Protocol section 14.1."""

    def test_known_code_brings_its_message(self) -> None:
        """The words and the temporary flag are the protocol's."""
        error = ReplyError(ErrorCode.TOO_MANY_REQUESTS)

        assert (error.code, error.message, error.temporary) == (111, "too many requests", True)
        assert str(error) == "111 too many requests"

    def test_hook_may_choose_its_own_code_and_words(self) -> None:
        """Custom errors are 400-1999; none of them is retried by an SDK on its own."""
        error = ReplyError(1042, "out of stock")

        assert (error.code, error.message, error.temporary) == (1042, "out of stock", False)

    def test_message_is_never_empty(self) -> None:
        """Section 21: SDKs index ``message``, and zero values are left out."""
        assert ReplyError(1042).message == "error"
        assert ReplyError(1042, "").message == "error"


class TestDisconnect:
    """What ends a connection."""

    def test_detail_is_for_the_log_and_the_reason_for_the_peer(self) -> None:
        """The text of the exception says what happened, the code's reason stays the protocol's."""
        end = Disconnect(DisconnectCode.BAD_REQUEST, "second connect")

        assert (end.code, end.detail) == (3501, "second connect")
        assert str(end) == "3501 second connect"
        assert str(Disconnect(DisconnectCode.STALE)) == "3502 stale"

    def test_hook_may_choose_its_own_code_and_reason(self) -> None:
        """Custom codes are 4000-4999."""
        end = Disconnect(4501, reason="banned")

        assert (end.code, end.reason) == (4501, "banned")
        assert str(end) == "4501 banned"


@pytest.mark.parametrize("headers", [None, {"Retry-After": "5"}])
def test_handshake_rejection_carries_an_http_answer(headers: dict[str, str] | None) -> None:
    """Before the upgrade an HTTP status, never a close code (design section 2)."""
    error = HandshakeRejected(503, "not ready", headers)

    assert (error.status, error.detail, error.headers) == (503, "not ready", headers or {})
    assert str(error) == "503 not ready"
