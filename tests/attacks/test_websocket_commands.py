"""W: commands that are none, may not be, or lie, against a gateway as a process.

After each of them ``Door.unharmed`` sees that nobody was harmed; the bystander would notice any of
these publications, for they are aimed at his channel.

==== =====================================================================
W5   silence is in test_websocket_lifetimes.py
W16  the 129th subscription is in tests/integration/test_protocol.py
W18  also tests/ws_gateway/protocol/test_json_codec.py and test_payload.py
W20  also tests/ws_gateway/protocol/test_json_codec.py
==== =====================================================================
"""

from __future__ import annotations

import json

import pytest

from tests.attacks.door import Door, Peer
from tests.ws_gateway.raw_server import MASK, masked
from ws_gateway.frames import BINARY, TEXT

pytestmark = pytest.mark.integration

LIMIT = 65_536


def outcome(peer: Peer) -> int | None:
    """Return the close code or the error code that comes next; None for a success."""
    try:
        reply = peer.hear()
    except EOFError as end:
        return int(end.args[0])
    error = reply.get("error")
    return None if error is None else int(error["code"])


def test_w5_the_first_message_is_connect_and_only_once(door: Door) -> None:
    """Another one is 3501 without a credential, and a second ``connect`` is with one."""
    with door.open() as stranger:
        stranger.say({"id": 1, "publish": {"channel": "here", "data": 1}})
        assert stranger.closed() == 3501
    with door.connect() as peer:
        peer.say({"id": 2, "connect": {}})
        assert peer.closed() == 3501


def test_w5_a_first_message_may_be_neither_long_nor_binary(door: Door) -> None:
    """1009 and 3501; who it is nobody knows yet."""
    with door.open() as peer:
        peer.send(bytes((0x80 | TEXT, 0xFF)) + (LIMIT + 1).to_bytes(8) + MASK)
        assert peer.closed() == 1009
    with door.open() as peer:
        peer.send(masked(BINARY, b'{"id":1,"connect":{}}'))
        assert peer.closed() == 3501


NAMES = {
    "10 KB": "x" * 10_000,
    "256 characters": "x" * 256,
    "a control character": "a\x07b",
    "a line": "a\nb",
    "no ASCII": "caf\u00e9",
    "a right-to-left override": "\u202eereh",
    "a surrogate pair": "\U0001f600",
}


@pytest.mark.parametrize("name", NAMES)
def test_w16_a_name_that_cannot_be_one_is_an_error(door: Door, name: str) -> None:
    """107; the connection goes on."""
    with door.connect() as peer:
        assert peer.ask({"id": 2, "subscribe": {"channel": NAMES[name]}})["error"]["code"] == 107
        assert peer.ask({"id": 3, "subscribe": {"channel": "x"}}) == {"id": 3, "subscribe": {}}


def test_w16_names_match_exactly_and_a_channel_is_subscribed_once(door: Door) -> None:
    """Neither a prefix nor a wildcard is another's channel."""
    with door.connect() as peer, door.connect("other") as other:
        for number, name in enumerate(("room.1", "room.*", "*", "ROOM.10"), 2):
            peer.ask({"id": number, "subscribe": {"channel": name}})
        again = peer.ask({"id": 9, "subscribe": {"channel": "room.1"}})
        other.ask({"id": 2, "subscribe": {"channel": "room.10"}})
        other.say({"id": 3, "publish": {"channel": "room.10", "data": "for room.10"}})
        assert {"push", "publish"} >= set(other.hear()) - {"id"}
        reply = peer.ask({"id": 10, "unsubscribe": {"channel": "room.1"}})

    assert again["error"]["code"] == 105
    assert reply == {"id": 10, "unsubscribe": {}}


FORBIDDEN: list[dict[str, object]] = [
    {"subscribe": {"channel": "staff:a"}},
    {"subscribe": {"channel": "$here"}},
    {"subscribe": {"channel": "dm:#bystander"}},
    {"publish": {"channel": "here", "data": "not subscribed"}},
    {"publish": {"channel": "readers:a", "data": "for readers only"}},
    {"publish": {"channel": "readers:nobody", "data": 1}},
    {"history": {"channel": "kept:a"}},
]


def test_w17_what_is_not_allowed_is_refused_and_reaches_nobody(door: Door) -> None:
    """103 whether anybody is in such a channel or not; the connection goes on."""
    with door.connect("reader") as reader, door.connect() as peer:
        reader.ask({"id": 2, "subscribe": {"channel": "readers:a"}})
        refused = [
            peer.ask({"id": number, **command})["error"]["code"]
            for number, command in enumerate(FORBIDDEN, 2)
        ]
        unsubscribed = peer.ask({"id": 20, "unsubscribe": {"channel": "readers:a"}})
        subscribed = peer.ask({"id": 21, "subscribe": {"channel": "readers:a"}})
        only_subscribed = peer.ask({"id": 22, "publish": {"channel": "readers:a", "data": 1}})
        again = reader.ask({"id": 3, "subscribe": {"channel": "readers:a"}})

    assert refused == [103] * 7
    assert unsubscribed == {"id": 20, "unsubscribe": {}}
    assert subscribed == {"id": 21, "subscribe": {}}
    assert only_subscribed["error"]["code"] == 103
    # It was unsubscribed by nobody, and was told nothing.
    assert again["error"]["code"] == 105


def _publish(data: str) -> str:
    return '{"id":3,"publish":{"channel":"here","data":' + data + "}}"


NO_JSON = {
    "depth 1,100": _publish("[" * 1100 + "]" * 1100),
    "depth 30,000": _publish("[" * 30_000 + "]" * 30_000),
    "a depth that never ends": '{"id":' + "[" * 60_000,
    "NaN": _publish("NaN"),
    "Infinity": _publish("Infinity"),
    "-Infinity": _publish("-Infinity"),
    "a byte order mark": "\ufeff" + _publish("1"),
    "text behind it": _publish("1") + "x",
    "nothing": "",
    "a blank": " ",
    "an array": "[" + _publish("1") + "]",
    "null": "null",
    "a number": "1",
    "a string": '"connect"',
    "single quotes": _publish("1").replace('"', "'"),
    "a raw line in a string": _publish('"a\tb"'),
    # W19: the standard library would take it, and fail with it for each receiver.
    "W19 half a surrogate": _publish('"\\ud800"'),
    "W19 the other half": _publish('"\\udc00\\ud800"'),
    "W19 in a name": _publish('{"\\ud800":1}'),
}


@pytest.mark.parametrize("name", NO_JSON)
def test_w18_w19_what_is_no_json_for_everybody_reaches_nobody(door: Door, name: str) -> None:
    """Error 107 or 3501, never a traceback, never a frame that a receiver chokes on."""
    with door.connect() as peer:
        peer.ask({"id": 2, "subscribe": {"channel": "here"}})
        peer.send(_text(NO_JSON[name].encode()))

        assert outcome(peer) in {107, 3501}


def _text(payload: bytes) -> bytes:
    if len(payload) < LIMIT:
        return masked(TEXT, payload)
    return bytes((0x80 | TEXT, 0xFF)) + len(payload).to_bytes(8) + MASK + payload


@pytest.mark.parametrize(
    "data",
    ["1e999", "9" * 5000, '{"a":1,"a":2}', '"\\u0000\\u2028"', "18446744073709551616"],
    ids=["1e999", "5,000 digits", "a name twice", "odd characters", "2^64"],
)
def test_w18_odd_json_is_carried_as_it_is_or_refused(door: Door, data: str) -> None:
    """What one JSON reader takes and another does not is either kept out or not touched."""
    command = _publish(data).replace("here", "hot:odd").encode()
    with door.connect() as peer:
        peer.ask({"id": 2, "subscribe": {"channel": "hot:odd"}})
        peer.send(masked(TEXT, command))
        _, payload = peer.frame()

    assert f'"data":{data}'.encode() in payload or b'"code":107' in payload


@pytest.mark.parametrize(
    "number",
    [
        *("0", "-1", "1.0", "1.5", "1e2", str(2**32), str(2**53 + 1), str(2**63), str(2**64)),
        *("null", '"7"', "{}", "[]", "true"),
    ],
)
def test_w20_an_id_is_kept_without_loss_or_refused(door: Door, number: str) -> None:
    """No reply may look like another's."""
    with door.connect() as peer:
        peer.send(masked(TEXT, ('{"id":' + number + ',"rpc":{"method":"x"}}').encode()))
        try:
            reply = peer.hear()
        except EOFError as end:
            reply = {"id": json.loads(number), "closed": end.args[0]}

    assert reply["id"] == json.loads(number)
    assert reply.get("closed", 3501) == 3501


def test_w20_an_id_may_be_used_again_and_must_not_be_missing(door: Door) -> None:
    """Each command has its answer; one without an id is a pong that nobody has asked for."""
    with door.connect() as peer:
        peer.say({"id": 2, "rpc": {"method": "x"}}, {"id": 2, "subscribe": {"channel": "x"}})
        assert [peer.hear()["id"] for _ in range(2)] == [2, 2]
        peer.say({"rpc": {"method": "x"}})
        assert peer.closed() == 3501


@pytest.mark.parametrize(
    ("code", "command"),
    [
        (3501, {"fly": {}}),
        (3501, {"publish": []}),
        (3501, {"publish": "here"}),
        (3501, {"Publish": {"channel": "here", "data": 1}}),
        (3501, {"publish": {"channel": 7, "data": 1}}),
        (3501, {"publish": {"channel": "", "data": 1}}),
        (3501, {}),
        (107, {"publish": {"channel": "here"}}),
        (103, {"subscribe": {"channel": "staff:a", "x": {"deep": [1]}}}),
        (1009, {"subscribe": {"channel": "x" * 1_000_000}}),
    ],
)
def test_w21_a_command_that_is_none_is_an_error_or_the_end(
    door: Door, code: int, command: dict[str, object]
) -> None:
    """Unknown fields are passed over; unknown commands, other types and other cases are not."""
    with door.connect() as peer:
        peer.ask({"id": 2, "subscribe": {"channel": "here"}})
        peer.send(_command(command))

        assert outcome(peer) == code


def _command(command: dict[str, object]) -> bytes:
    return _text(json.dumps({"id": 3, **command}).encode())


def test_w22_nobody_speaks_as_another(door: Door) -> None:
    """``info`` is the gateway's; what a client writes there is passed over."""
    with door.connect("listener") as listener, door.connect() as peer:
        listener.ask({"id": 2, "subscribe": {"channel": "hot:a"}})
        lies = {"info": {"user": "root", "client": "x"}, "user": "root", "tags": {"a": "b"}}
        peer.ask(
            {"id": 2, "publish": {"channel": "hot:a", "data": {"user": "root"}, **lies}, **lies}
        )
        publication = listener.hear()["push"]["pub"]

    assert publication["data"] == {"user": "root"}
    assert publication["info"]["user"] == "mallory"
    assert "tags" not in publication
