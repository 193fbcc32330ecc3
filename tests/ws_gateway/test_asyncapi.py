"""The AsyncAPI document says what the protocol is; tests/integration has the official parser."""

from __future__ import annotations

import inspect
import json
from pathlib import Path
from typing import Any

import pytest
from jsonschema_rs import Draft7Validator
from msgspec import Struct

from ws_gateway.asyncapi import document, write
from ws_gateway.codes import DisconnectCode, ErrorCode, UnsubscribeCode
from ws_gateway.protocol import messages
from ws_gateway.protocol.messages import REQUEST_NAMES, Push, Reply

DOCUMENT = document()
MESSAGES = DOCUMENT["components"]["messages"]
VECTORS = Path(__file__).parent / "protocol" / "vectors"


def structures() -> list[type[Struct]]:
    """List every message of the protocol."""
    return [
        found
        for name, found in vars(messages).items()
        if inspect.isclass(found)
        and issubclass(found, Struct)
        and found is not Struct
        and not name.startswith("_")
    ]


def frames(name: str) -> list[Any]:
    """Return recorded frames, as JSON."""
    return [json.loads(case["json"]) for case in json.loads((VECTORS / name).read_text("utf-8"))]


def validator(name: str) -> Draft7Validator:
    """Return what checks one message of the document."""
    schema = {**MESSAGES[name]["payload"], "components": DOCUMENT["components"]}
    return Draft7Validator(schema)


VALIDATORS = {name: validator(name) for name in DOCUMENT["channels"]["json"]["messages"]}


def kinds(frame: dict[str, Any], *, sent_by: str) -> list[str]:
    """Name the messages that a frame may be, sent by a ``client`` or the ``server``."""
    if not frame:
        return ["keepAliveAnswer" if sent_by == "client" else "keepAlive"]
    if sent_by == "client":
        return [name for name in frame if name != "id"]
    if "push" in frame:
        return [f"{name}Push" for name in frame["push"] if name not in ("id", "channel")]
    return [name if name == "error" else f"{name}Reply" for name in frame if name != "id"]


@pytest.mark.parametrize("message", structures(), ids=lambda message: message.__name__)
def test_every_message_and_field_is_in_it(message: type[Struct]) -> None:
    """A new one is described as soon as it is there, in both encodings."""
    schema = DOCUMENT["components"]["schemas"][message.__name__]

    assert set(schema["properties"]) == set(message.__struct_fields__)
    assert schema["description"]
    texts = [MESSAGES[name]["payload"]["schema"] for name in ("protobufCommand", "protobufReply")]
    assert [text for text in texts if f"\nmessage {message.__name__} {{" in text]


@pytest.mark.parametrize(
    ("file", "side"), [("commands.json", "client"), ("replies.json", "server")]
)
def test_recorded_frames_are_what_it_says(file: str, side: str) -> None:
    """Each is valid as the message that it is."""
    for frame in frames(file):
        for name in kinds(frame, sent_by=side):
            assert [str(error) for error in VALIDATORS[name].iter_errors(frame)] == [], frame


@pytest.mark.parametrize(
    ("name", "frame"),
    [
        ("publish", {"id": 1}),
        ("publish", {"id": -1, "publish": {}}),
        ("publish", {"id": 1, "publish": {"channel": 1}}),
        ("history", {"id": 1, "history": {"limit": 2**31}}),
        ("connect", {"id": 1, "connect": {"subs": {"a": {"recover": "yes"}}}}),
        ("publishReply", {"publish": {}}),
        ("rpcReply", {"id": 1, "rpc": {}}),
        ("error", {"id": 1, "error": {"code": 99, "message": "no such code"}}),
        ("pubPush", {"push": {"channel": "a", "join": {}}}),
        ("unsubscribePush", {"push": {"unsubscribe": {"code": 1, "reason": "x"}}}),
        ("keepAlive", {"id": 1}),
    ],
)
def test_what_is_no_such_message_is_found_out(name: str, frame: dict[str, Any]) -> None:
    """The schemas are not of those that let everything pass."""
    assert not VALIDATORS[name].is_valid(frame)


def test_every_command_answer_and_push_is_an_operation() -> None:
    """What the gateway receives is answered by its own reply or an error, or ends it all."""
    operations = DOCUMENT["operations"]
    prefix = "#/channels/json/messages/"

    for name in REQUEST_NAMES.values():
        operation = operations[name]
        assert operation["action"] == "receive"
        if name not in Reply.__struct_fields__:
            assert "ends the connection with 350" in operation["summary"]
            assert "reply" not in operation
            continue
        answers = [one["$ref"].removeprefix(prefix) for one in operation["reply"]["messages"]]
        assert answers == [f"{name}Reply", "error"]
    for name in set(Push.__struct_fields__) - {"id", "channel"}:
        assert operations[f"{name}Push"]["action"] == "send"


def test_every_example_is_valid() -> None:
    """With an id, and as the line of a bare connection."""
    for name in REQUEST_NAMES.values():
        examples = [one["payload"] for one in MESSAGES[name]["examples"]]
        assert all(VALIDATORS[name].is_valid(example) for example in examples), name
        assert any("id" not in example for example in examples) == (name != "connect")


@pytest.mark.parametrize("channel", ["json", "protobuf"])
def test_every_code_is_in_it(channel: str) -> None:
    """With its words, and what SDKs do then."""
    told = DOCUMENT["channels"][channel]
    closes = {one["code"]: one for one in told["x-close-codes"] if "code" in one}
    errors = {one["code"]: one for one in told["x-error-codes"] if "code" in one}

    assert closes.keys() == set(map(int, DisconnectCode))
    assert errors.keys() == set(map(int, ErrorCode))
    assert closes[3008] == {"code": 3008, "reason": "slow", "reconnect": True}
    assert not any(closes[code]["reconnect"] for code in (1009, 3500, 3507))
    assert errors[100]["temporary"]
    assert {"401", "403", "429", "503"} <= told["x-handshake-refusals"].keys()


def test_the_codes_of_each_message_are_named_in_its_schema() -> None:
    """Those of the protocol one by one, and a range for the operator's own."""
    schemas = DOCUMENT["components"]["schemas"]
    for name, codes in (
        ("Error", ErrorCode),
        ("Unsubscribe", UnsubscribeCode),
        ("DisconnectPush", DisconnectCode),
    ):
        named = [one["const"] for one in schemas[name]["properties"]["code"]["anyOf"][:-1]]
        assert named == list(map(int, codes))


def test_every_way_in_is_a_security_scheme_of_the_server() -> None:
    """Header, subprotocol, cookie, and the token in the first command."""
    schemes = DOCUMENT["components"]["securitySchemes"]

    assert {name: scheme.get("name") for name, scheme in schemes.items()} == {
        "bearer": None,
        "subprotocol": "Sec-WebSocket-Protocol",
        "cookie": "__Host-drawbridge",
        "connect": None,
    }
    (server,) = DOCUMENT["servers"].values()
    assert [one["$ref"].rpartition("/")[2] for one in server["security"]] == list(schemes)


def test_both_encodings_are_channels_of_one_address() -> None:
    """A handshake chooses between them."""
    channels = DOCUMENT["channels"]

    assert {one["address"] for one in channels.values()} == {"/connection/websocket"}
    assert set(channels["protobuf"]["messages"]) == {"protobufCommand", "protobufReply"}
    assert "bare" in channels["json"]["description"]


def test_it_is_written_as_it_is() -> None:
    """And once: every later reader gets the same bytes."""
    assert json.loads(write()) == DOCUMENT
    assert write() is write()
