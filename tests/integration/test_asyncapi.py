"""``/asyncapi.json`` through the front, read by the official parser from npm."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path
from typing import Any

import httpx2
import pytest

from tests.integration import npm
from tests.integration.embedded import Embedded
from ws_gateway.asyncapi import document
from ws_gateway.protocol.messages import REQUEST_NAMES, Command, Reply

pytestmark = pytest.mark.integration

FOLDER = Path(__file__).parents[1] / "sdk" / "asyncapi"
WARNING = 1  # Spectral's: 0 is an error, 2 and 3 are hints


@pytest.fixture(scope="module")
def node() -> str:
    """Node, with the parser installed as locked; its absence is a failure."""
    return npm.node(FOLDER)


def read(node: str, document: bytes) -> dict[str, Any]:
    """Return what the parser found in a document."""
    done = subprocess.run(  # noqa: S603 - our own script
        [node, str(FOLDER / "validate.mjs")], input=document, capture_output=True, check=True
    )
    found: dict[str, Any] = json.loads(done.stdout)
    return found


def test_the_official_parser_has_nothing_to_say_against_it(node: str, server: Embedded) -> None:
    """No error and no warning; it finds each command, both schemas of Protobuf, and the bearer."""
    answer = server.http.get("/asyncapi.json")
    assert answer.status_code == httpx2.codes.OK

    found = read(node, answer.content)

    assert [one for one in found["complaints"] if one["severity"] <= WARNING] == []
    for name in REQUEST_NAMES.values():
        assert found["operations"][name] == ["id", name]
    assert set(found["operations"]["protobufCommand"]) == set(Command.__struct_fields__)
    assert set(found["operations"]["protobufPush"]) == set(Reply.__struct_fields__)
    assert found["security"]["bearer"] == "http"


def test_a_document_that_is_none_is_found_out(node: str) -> None:
    """The parser is one that complains."""
    wrong = document()
    wrong["operations"]["publish"]["channel"]["$ref"] = "#/channels/none"

    found = read(node, json.dumps(wrong).encode())

    assert [one for one in found["complaints"] if one["severity"] < WARNING]
