"""The AsyncAPI 3 document of the client protocol, made from the types that speak it.

What clients send are operations that the gateway *receives*, with their replies; pushes and pings
are operations that it *sends*. The format has no place for close codes, for error codes and for
what a handshake is refused with, so these are extensions of the channel (``x-...``).
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from functools import cache
from http import HTTPStatus

from google.protobuf.descriptor import Descriptor

from ws_gateway import __version__
from ws_gateway.codes import DisconnectCode, ErrorCode, UnsubscribeCode
from ws_gateway.docstrings import summary
from ws_gateway.handshake import COOKIE, SUBPROTOCOLS
from ws_gateway.protocol import client_pb2
from ws_gateway.protocol.json_schema import Schema, parts, reference, schemas
from ws_gateway.protocol.messages import Command, Push, Reply
from ws_gateway.protocol.proto_text import proto_text

__all__ = ["MEDIA_TYPE", "document", "write"]

MEDIA_TYPE = "application/vnd.aai.asyncapi+json;version=3.0.0"

_ADDRESS = "/connection/websocket"
_JSON = "application/json"
_PROTOBUF = "application/x-protobuf"
_PROTO3 = "application/vnd.google.protobuf;version=3"

_DESCRIPTION = """\
Publish, subscribe and ask over one WebSocket: the Centrifuge client protocol, version 2, in JSON \
or in Protobuf. A text message is one or more JSON objects, one a line; a binary message one or \
more Protobuf messages, each after its length as a varint. Names and shapes are the same in both.\
"""
_BARE = """\
A connection that was authenticated at the handshake and whose first command is not `connect` is \
*bare*: its commands need no `id`, and one without is answered only if it fails, by \
`{"error":{...}}`. It is pinged by WebSocket ping frames, never by `{}`, and owes no `{}`. So one \
line of JSON is a whole client: `{"publish":{"channel":"lobby","data":"hello"}}`.\
"""
_BINARY = """\
The same operations in Protobuf, for a client that offers `centrifuge-protobuf`, or adds \
`cf_protocol=protobuf` to the URL. A binary message is one or more of these, each after its length \
as a varint.\
"""
_FRONT = "Host and port of the front, as this document was read from it."
_OWN_WORDS = "what the operator's own code says"
_ID: Schema = {"type": "integer", "minimum": 0, "maximum": 2**32 - 1}

_SECURITY: Schema = {
    "bearer": {
        "type": "http",
        "scheme": "bearer",
        "bearerFormat": "JWT",
        "description": "`Authorization: Bearer TOKEN` at the handshake: services, mobile, CLI.",
    },
    "subprotocol": {
        "type": "httpApiKey",
        "in": "header",
        "name": "Sec-WebSocket-Protocol",
        "description": "`centrifuge-json, bearer.TOKEN` at the handshake: browsers on any origin"
        " allowed; it is answered with the real subprotocol.",
    },
    "cookie": {
        "type": "httpApiKey",
        "in": "cookie",
        "name": COOKIE,
        "description": "Browsers that logged in on the front. One that is not good counts as none.",
    },
    "connect": {
        "type": "userPassword",
        "description": "Nothing at the handshake: the token comes in the `connect` command, as"
        " SDKs do it, before the time for it is over.",
    },
}

_REFUSALS = {
    400: "two credentials, or no subprotocol that is spoken here",
    401: "the token is not good; `WWW-Authenticate` says why",
    403: "the origin, or the token's scope",
    404: "another path",
    408: "the head took too long",
    426: "no WebSocket of version 13",
    429: "too many handshakes, or sockets without a credential, from this address",
    431: "the head is too long",
    503: "not ready, going away, or full; `Retry-After` says when to come again",
}

# One of each command, as a client may send it after `connect`.
_EXAMPLES: dict[str, Schema] = {
    "connect": {"token": "eyJ..."},
    "ping": {},
    "subscribe": {"channel": "lobby"},
    "unsubscribe": {"channel": "lobby"},
    "publish": {"channel": "lobby", "data": {"text": "hello"}},
    "presence": {"channel": "room:1"},
    "presence_stats": {"channel": "room:1"},
    "history": {"channel": "room:1", "limit": 10},
    "rpc": {"method": "echo", "data": [1, 2]},
    "send": {"data": "noted"},
    "refresh": {"token": "eyJ..."},
    "sub_refresh": {"channel": "$room:1", "token": "eyJ..."},
}


# What the protocol has and this gateway ends the connection for.
_REFUSED = {"ping": DisconnectCode.BAD_REQUEST, "send": DisconnectCode.NOT_AVAILABLE}

_COMMANDS = parts(Command)
_ANSWERS = {name: kind for name, kind in parts(Reply).items() if name not in ("error", "push")}
_PUSHES = parts(Push)


@cache
def write() -> bytes:
    """Write the document as JSON text; once in a process."""
    return json.dumps(document(), separators=(",", ":")).encode()


def document() -> Schema:
    """Build the document."""
    lines = _commands() | _answers() | _pushes() | _keep_alive()
    return {
        "asyncapi": "3.0.0",
        "info": {
            "title": "Drawbridge gateway",
            "version": __version__,
            "description": _DESCRIPTION,
            "license": {"name": "MIT"},
        },
        "defaultContentType": _JSON,
        "servers": {
            "front": {
                "host": "{front}",
                "protocol": "wss",
                "protocolVersion": "13",
                "variables": {"front": {"default": "localhost:8443", "description": _FRONT}},
                "security": [
                    {"$ref": f"#/components/securitySchemes/{name}"} for name in _SECURITY
                ],
            }
        },
        "channels": {
            "json": _channel("Lines of JSON", _BARE, SUBPROTOCOLS[0], lines),
            "protobuf": _channel("Protobuf", _BINARY, SUBPROTOCOLS[1], _protobuf()),
        },
        "operations": _operations(),
        "components": {
            "schemas": _schemas(),
            "messages": lines | _protobuf(),
            "securitySchemes": _SECURITY,
        },
    }


# The channels.


def _channel(title: str, description: str, subprotocol: str, messages: Iterable[str]) -> Schema:
    return {
        "address": _ADDRESS,
        "title": title,
        "description": description,
        "servers": [{"$ref": "#/servers/front"}],
        "messages": {name: {"$ref": f"#/components/messages/{name}"} for name in messages},
        "bindings": {"ws": _handshake(subprotocol)},
        "x-close-codes": [
            *(
                {"code": int(code), "reason": code.reason, "reconnect": _comes_back(code)}
                for code in DisconnectCode
            ),
            {"from": 4000, "to": 4499, "reason": _OWN_WORDS, "reconnect": True},
            {"from": 4500, "to": 4999, "reason": _OWN_WORDS, "reconnect": False},
        ],
        "x-error-codes": [
            *(
                {"code": int(code), "message": code.message, "temporary": code.temporary}
                for code in ErrorCode
            ),
            {"from": 400, "to": 1999, "message": _OWN_WORDS, "temporary": False},
        ],
        "x-handshake-refusals": {
            str(status): f"{HTTPStatus(status).phrase}: {reason}."
            for status, reason in _REFUSALS.items()
        },
    }


def _handshake(subprotocol: str) -> Schema:
    return {
        "method": "GET",
        "query": {
            "type": "object",
            "properties": {
                "cf_protocol": {
                    "const": subprotocol.removeprefix("centrifuge-"),
                    "description": "For clients that cannot offer a subprotocol.",
                },
                "cf_ws_frame_ping_pong": {
                    "const": "true",
                    "description": "WebSocket ping frames in place of `{}`.",
                },
            },
        },
        "headers": {
            "type": "object",
            "properties": {
                "Origin": {
                    "type": "string",
                    "description": "Browsers send it. One that is not allowed is refused, whatever"
                    " the credential; without one the cookie does not count.",
                },
                "Sec-WebSocket-Protocol": {
                    "type": "string",
                    "description": f"`{subprotocol}`, with `bearer.TOKEN` where the token travels"
                    " here. Without the header it is JSON.",
                },
            },
        },
        "bindingVersion": "0.1.0",
    }


def _comes_back(code: int) -> bool:
    """Say whether SDKs connect again after a close code of the protocol."""
    return code != DisconnectCode.MESSAGE_TOO_BIG and not 3500 <= code < 4000  # noqa: PLR2004


# The operations.


def _operations() -> Schema:
    return {
        **{
            name: _operation("receive", _command_words(name), name, reply=_answer_names(name))
            for name in _COMMANDS
        },
        **{
            f"{name}Push": _operation("send", summary(kind), f"{name}Push")
            for name, kind in _PUSHES.items()
        },
        "keepAlive": _operation(
            "send",
            "Ask for a sign of life, where the answer to `connect` said so by `ping`.",
            "keepAlive",
            reply=["keepAliveAnswer"],
        ),
        "protobufCommand": _operation(
            "receive",
            "Every command, in Protobuf.",
            "protobufCommand",
            channel="protobuf",
            reply=["protobufReply"],
        ),
        "protobufPush": _operation(
            "send", "Every push and ping, in Protobuf.", "protobufReply", channel="protobuf"
        ),
    }


def _command_words(command: str) -> str:
    words = summary(_COMMANDS[command])
    code = _REFUSED.get(command)
    return words if code is None else f"{words} It ends the connection with {code}, {code.reason}."


def _answer_names(command: str) -> list[str]:
    return [] if command in _REFUSED else [f"{command}Reply", "error"]


def _operation(
    action: str, words: str, message: str, *, channel: str = "json", reply: Iterable[str] = ()
) -> Schema:
    at = f"#/channels/{channel}"
    operation: Schema = {
        "action": action,
        "channel": {"$ref": at},
        "summary": words,
        "messages": [{"$ref": f"{at}/messages/{message}"}],
    }
    if reply:
        answers = [{"$ref": f"{at}/messages/{name}"} for name in reply]
        operation["reply"] = {"channel": {"$ref": at}, "messages": answers}
    return operation


# The messages: each line of JSON by itself, and Protobuf's two as a whole.


def _commands() -> dict[str, Schema]:
    found = {}
    for name, kind in _COMMANDS.items():
        payload = _object({"id": _ID, name: reference(kind)}, required=[name])
        example = {name: _EXAMPLES[name]}
        examples = [{"name": "numbered", "payload": {"id": 1, **example}}]
        if name != "connect":
            examples.append({"name": "bare", "payload": example})
        found[name] = _message(name, summary(kind), payload) | {"examples": examples}
    return found


def _answers() -> dict[str, Schema]:
    found = {
        f"{name}Reply": _message(
            f"{name} reply",
            f"The answer to `{name}`: {summary(kind)}",
            _object({"id": _ID, name: reference(kind)}, required=["id", name]),
        )
        for name, kind in _ANSWERS.items()
    }
    error = parts(Reply)["error"]
    payload = _object({"id": _ID, "error": reference(error)}, required=["error"])
    return found | {"error": _message("error", summary(error), payload)}


def _pushes() -> dict[str, Schema]:
    own = schemas(Push)["Push"]["properties"]
    found = {}
    for name, kind in _PUSHES.items():
        fields = {"id": own["id"], "channel": own["channel"], name: reference(kind)}
        payload = _object({"push": _object(fields, required=[name])}, required=["push"])
        found[f"{name}Push"] = _message(f"{name} push", summary(kind), payload)
    return found


def _keep_alive() -> dict[str, Schema]:
    empty: Schema = {"type": "object", "maxProperties": 0}
    return {
        "keepAlive": _message("ping", "The server's `{}`.", empty),
        "keepAliveAnswer": _message("pong", "The client's `{}`.", empty),
    }


def _protobuf() -> dict[str, Schema]:
    def message(title: str, root: Descriptor) -> Schema:
        payload = {"schemaFormat": _PROTO3, "schema": proto_text(root)}
        described = {"title": title, "contentType": _PROTOBUF, "payload": payload}
        return {"name": root.name, **described}

    types = client_pb2.DESCRIPTOR.message_types_by_name
    return {
        "protobufCommand": message("Any command", types["Command"]),
        "protobufReply": message("Any answer, push or ping", types["Reply"]),
    }


def _message(title: str, words: str, payload: Schema) -> Schema:
    return {"title": title, "summary": words, "contentType": _JSON, "payload": payload}


def _object(properties: Schema, *, required: list[str]) -> Schema:
    return {"type": "object", "properties": properties, "required": required}


# The schemas, with the codes there are.


def _schemas() -> dict[str, Schema]:
    found = schemas(Command, Reply)
    for name, codes, low, high in (
        ("Error", {int(code): code.message for code in ErrorCode}, 400, 1999),
        ("Unsubscribe", {int(code): code.reason for code in UnsubscribeCode}, 2000, 2999),
        ("DisconnectPush", {int(code): code.reason for code in DisconnectCode}, 3000, 4999),
    ):
        found[name]["properties"]["code"] = {
            "type": "integer",
            "anyOf": [
                *({"const": code, "description": words} for code, words in codes.items()),
                {"minimum": low, "maximum": high, "description": _OWN_WORDS},
            ],
        }
    return found
