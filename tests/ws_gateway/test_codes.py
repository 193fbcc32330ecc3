"""The protocol's numbers: what SDKs react to must be exactly Centrifugo's (protocol section 14)."""

from __future__ import annotations

import json

import pytest

from ws_gateway.codes import DisconnectCode, ErrorCode, UnsubscribeCode

MAX_REASON_BYTES = 123  # RFC 6455 section 5.5.1


class TestErrorCode:
    """Protocol section 14.1."""

    def test_numbers_messages_and_temporary_are_the_protocols(self) -> None:
        """SDKs retry what is temporary; 1404 is ours, among the custom errors of 400-1999."""
        table = {int(code): (code.message, code.temporary) for code in ErrorCode}

        assert table == {
            100: ("internal server error", True),
            101: ("unauthorized", False),
            102: ("unknown channel", False),
            103: ("permission denied", False),
            104: ("method not found", False),
            105: ("already subscribed", False),
            106: ("limit exceeded", False),
            107: ("bad request", False),
            108: ("not available", False),
            109: ("token expired", False),
            110: ("expired", False),
            111: ("too many requests", True),
            112: ("unrecoverable position", False),
            1404: ("not connected", False),
        }


class TestUnsubscribeCode:
    """Protocol section 14.2."""

    def test_numbers_and_reasons_are_the_protocols(self) -> None:
        """SDKs subscribe again from 2500 on."""
        assert {int(code): code.reason for code in UnsubscribeCode} == {
            2000: "server unsubscribe",
            2500: "insufficient state",
            2501: "subscription expired",
        }


class TestDisconnectCode:
    """Protocol sections 14.3 and 15."""

    def test_numbers_and_reasons_are_the_protocols(self) -> None:
        """SDKs stay away after 3500-3999 and 1009, and come back after everything else."""
        table = {int(code): code.reason for code in DisconnectCode if code >= 3000}

        assert table == {
            3001: "shutdown",
            3004: "internal server error",
            3005: "connection expired",
            3006: "subscription expired",
            3008: "slow",
            3010: "insufficient state",
            3011: "force reconnect",
            3012: "no pong",
            3013: "too many requests",
            3500: "invalid token",
            3501: "bad request",
            3502: "stale",
            3503: "force disconnect",
            3504: "connection limit",
            3505: "channel limit",
            3506: "inappropriate protocol",
            3507: "permission denied",
            3508: "not available",
        }

    @pytest.mark.parametrize("code", DisconnectCode)
    def test_reason_is_plain_words_that_fit_a_close_frame(self, code: DisconnectCode) -> None:
        """Section 15: an empty reason makes JS reconnect for ever, a JSON one is misread."""
        assert 0 < len(code.reason.encode()) <= MAX_REASON_BYTES
        with pytest.raises(json.JSONDecodeError):
            json.loads(code.reason)

    @pytest.mark.parametrize("code", DisconnectCode)
    def test_code_may_be_sent_in_a_close_frame(self, code: DisconnectCode) -> None:
        """RFC 6455 section 7.4; never an HTTP number, never 1005 or 1006."""
        assert code in {1000, 1002, 1007, 1009} or 3000 <= code <= 3999

    def test_code_is_written_as_a_number(self) -> None:
        """It becomes a metric's label and a log's field."""
        assert str(DisconnectCode.SHUTDOWN) == "3001"
