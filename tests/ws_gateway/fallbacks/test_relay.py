"""How a request stands in a message between gateways."""

from __future__ import annotations

import msgspec
import pytest
from hypothesis import given, strategies as st

from ws_gateway.fallbacks.emulation_request import EmulatedCommands
from ws_gateway.fallbacks.relay import read_request, write_request

REQUEST = EmulatedCommands("node", "session", b"\x00{}\xff", True)


@pytest.mark.parametrize("origin", [None, "https://app.example.com"])
def test_a_request_arrives_as_it_was_sent(origin: str | None) -> None:
    """With where it came from."""
    assert read_request(write_request(REQUEST, origin)) == (REQUEST, origin)


def test_a_newer_gateway_may_say_more() -> None:
    """Two versions run side by side; what is added at the end is passed over."""
    message = msgspec.msgpack.decode(write_request(REQUEST, None))

    assert read_request(msgspec.msgpack.encode([*message, "more"])) == (REQUEST, None)


def test_another_format_is_none_of_ours() -> None:
    """It has a number for that."""
    message = msgspec.msgpack.decode(write_request(REQUEST, None))

    with pytest.raises(msgspec.ValidationError):
        read_request(msgspec.msgpack.encode([2, *message[1:]]))


@given(st.binary())
def test_what_is_no_message_is_one_error(payload: bytes) -> None:
    """Whoever may write to Redis can send anything."""
    assert issubclass(msgspec.DecodeError, ValueError)
    with pytest.raises(msgspec.DecodeError):
        read_request(payload)
