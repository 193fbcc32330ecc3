"""How messages stand in a body."""

from __future__ import annotations

import json

import pytest

from ws_gateway.fallbacks.framing import EVENTS, LENGTHS, LINES, Framing


@pytest.mark.parametrize(
    ("framing", "expected"),
    [
        (LINES, b'{"a":1}\n'),
        (LENGTHS, b'{"a":1}'),
        (EVENTS, b'data: {"a":1}\n\n'),
    ],
)
def test_a_message_is_told_from_the_next(framing: Framing, expected: bytes) -> None:
    """By a line break, by the length it has already, or as an event."""
    assert framing.wrap(b'{"a":1}') == expected


def test_a_return_is_a_blank_in_an_event_and_stays_elsewhere() -> None:
    """There it would end the line, and what follows would be an unknown field."""
    message = b'{"a":\r[1,\r2],"b":"\\r"}'

    assert b"\r" not in EVENTS.wrap(message)
    assert json.loads(EVENTS.wrap(message)[6:]) == json.loads(message)
    assert LINES.wrap(message) == message + b"\n"
    assert LENGTHS.wrap(b"\x01\r") == b"\x01\r"
