"""Protobuf's schema as text."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from ws_gateway.protocol import client_pb2
from ws_gateway.protocol.proto_text import proto_text

SOURCE = Path(client_pb2.__file__).with_name("client.proto").read_text("utf-8")


def messages(text: str) -> dict[str, set[str]]:
    """Return the fields of each message of a ``.proto``, as they are written."""
    return {
        name: set(re.findall(r"^  (\w.*?);", body, re.MULTILINE))
        for name, body in re.findall(r"^message (\w+) \{(.*?)\}$", text, re.MULTILINE | re.DOTALL)
    }


@pytest.mark.parametrize("root", ["Command", "Reply"])
def test_it_says_what_the_source_says(root: str) -> None:
    """Field for field: type, name, number, ``repeated`` and ``map``."""
    text = proto_text(client_pb2.DESCRIPTOR.message_types_by_name[root])
    written, source = messages(text), messages(SOURCE)

    assert text.startswith('syntax = "proto3";\n\npackage drawbridge.protocol;\n')
    assert {name: source[name] for name in written} == written
    assert "map<string, " in text
    assert "repeated " in text


def test_only_what_occurs_in_the_message_is_there() -> None:
    """So that it is the one root."""
    types = client_pb2.DESCRIPTOR.message_types_by_name
    commands, replies = messages(proto_text(types["Command"])), messages(proto_text(types["Reply"]))

    assert "Command" in commands
    assert "Reply" in replies
    assert commands.keys().isdisjoint(replies)
