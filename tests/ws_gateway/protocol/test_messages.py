"""The protocol's messages (protocol section 3)."""

from __future__ import annotations

import itertools
from typing import Any, get_args

import msgspec
import pytest
from msgspec import Raw

from ws_gateway.protocol.messages import (
    ABSENT,
    EMPTY,
    REQUEST_NAMES,
    ClientInfo,
    Command,
    ConnectRequest,
    EmptyResult,
    PingRequest,
    Publication,
    PublishRequest,
    Reply,
    Request,
    RPCRequest,
    SendRequest,
    SubscribeRequest,
    UnsubscribeRequest,
)

ORDER = [
    *("connect", "ping", "subscribe", "unsubscribe", "publish", "presence", "presence_stats"),
    *("history", "rpc", "send", "refresh", "sub_refresh"),
]
"""Section 4, step 1."""


class TestCommand:
    """Which request is in it."""

    @pytest.mark.parametrize("field", ORDER)
    def test_each_kind_is_found(self, field: str) -> None:
        """A request may be empty: what counts is that it is there."""
        command = msgspec.convert({"id": 1, field: {}}, Command)

        assert command.request == getattr(command, field)
        assert REQUEST_NAMES[type(command.request)] == field

    @pytest.mark.parametrize(("first", "second"), list(itertools.pairwise(ORDER)))
    def test_of_several_requests_the_first_wins(self, first: str, second: str) -> None:
        """Section 4, step 1: in the protocol's order, not in the message's."""
        command = msgspec.convert({"id": 1, second: {}, first: {}}, Command)

        assert command.request == getattr(command, first)

    @pytest.mark.parametrize("values", [{}, {"id": 1}, {"subscribe": None}, {"unknown": {}}])
    def test_nothing_known_is_no_request(self, values: dict[str, Any]) -> None:
        """A pong, or what the session refuses."""
        assert msgspec.convert(values, Command).request is None

    def test_every_kind_has_its_name(self) -> None:
        """They label metrics; a forgotten one would be a KeyError."""
        assert list(REQUEST_NAMES.values()) == ORDER
        assert set(REQUEST_NAMES) == set(get_args(Request))

    def test_names_belong_to_their_kind(self) -> None:
        """The table is zipped of two lists that must stay in step."""
        for kind in (ConnectRequest, PingRequest, SubscribeRequest, UnsubscribeRequest):
            assert kind.__name__.lower() == REQUEST_NAMES[kind] + "request"
        assert REQUEST_NAMES[PublishRequest] == "publish"
        assert (REQUEST_NAMES[RPCRequest], REQUEST_NAMES[SendRequest]) == ("rpc", "send")


class TestPayload:
    """``data`` is opaque (design section 1)."""

    def test_absent_is_told_from_null(self) -> None:
        """``null`` is a payload, nothing is none."""
        absent = msgspec.json.decode(b"{}", type=PublishRequest)
        null = msgspec.json.decode(b'{"data":null}', type=PublishRequest)

        assert not absent.data
        assert bytes(null.data) == b"null"

    def test_absent_payload_is_not_written(self) -> None:
        """An empty ``Raw`` in a message would be no JSON at all."""
        info = ClientInfo(user="", client="", conn_info=ABSENT)

        assert msgspec.json.encode(info) == b'{"user":"","client":""}'

    def test_messages_cannot_be_changed(self) -> None:
        """One publication is shared by all its receivers."""
        publication = Publication(data=Raw(b"1"))

        with pytest.raises(AttributeError):
            publication.data = Raw(b"2")  # type: ignore[misc]


def test_empty_result_is_written() -> None:
    """Section 2.1: SDKs index the key."""
    assert msgspec.json.encode(Reply(id=5, unsubscribe=EMPTY)) == b'{"id":5,"unsubscribe":{}}'
    assert EmptyResult() == EMPTY
