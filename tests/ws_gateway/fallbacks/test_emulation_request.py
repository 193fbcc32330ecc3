"""Bodies that bring commands, and bodies that do not."""

from __future__ import annotations

import json

import pytest
from centrifuge.protocol import client_pb2 as sdk
from hypothesis import given, strategies as st

from ws_gateway.fallbacks import emulation_pb2 as pb
from ws_gateway.fallbacks.emulation_request import EmulatedCommands, read_emulation


def test_json() -> None:
    """Commands are a string there; what it does not know it passes over."""
    body = json.dumps({"session": "s", "node": "n", "data": '{"id":1}\n{}', "more": 1}).encode()

    assert read_emulation(body, binary=False) == EmulatedCommands("n", "s", b'{"id":1}\n{}', False)


def test_protobuf() -> None:
    """Commands are bytes there, of any kind."""
    body = pb.EmulationRequest(node="n", session="s", data=b"\x00\xff").SerializeToString()

    assert read_emulation(body, binary=True) == EmulatedCommands("n", "s", b"\x00\xff", True)


def test_protobuf_is_the_sdks() -> None:
    """Its own schema says the same."""
    body = sdk.EmulationRequest(node="n", session="s", data=b"\x00").SerializeToString()

    assert read_emulation(body, binary=True) == EmulatedCommands("n", "s", b"\x00", True)


@given(st.binary(), st.booleans())
def test_other_bodies_are_one_error(body: bytes, binary: bool) -> None:
    """Whatever comes; and it quotes nothing, for it is logged."""
    complaint = ""
    request = None
    try:
        request = read_emulation(body, binary=binary)
    except ValueError as error:
        complaint = str(error)

    if request is None:
        assert complaint in {"not an emulation request", "incomplete emulation request"}
    else:
        assert request.node
        assert request.session
        assert request.data


@pytest.mark.parametrize("missing", ["node", "session", "data"])
@pytest.mark.parametrize("binary", [False, True])
def test_all_three_are_needed(missing: str, binary: bool) -> None:
    """An empty value is none."""
    values = {"node": "n", "session": "s", "data": "{}"} | {missing: ""}
    body = json.dumps(values).encode()
    if binary:
        body = pb.EmulationRequest(
            node=values["node"], session=values["session"], data=values["data"].encode()
        ).SerializeToString()

    with pytest.raises(ValueError, match="incomplete"):
        read_emulation(body, binary=binary)


def test_its_secrets_are_not_printed() -> None:
    """A session is as good as a token."""
    assert repr(EmulatedCommands("n", "secret", b"secret", False)) == (
        "EmulatedCommands(node='n', binary=False)"
    )
