"""The tests of the pages would find a page that is wrong."""

from __future__ import annotations

import json
from typing import Any

import pytest

from tests.docs.blocks import ROOT, blocks
from tests.docs.conversation import agrees, is_conversation

CAME = {
    "id": 1,
    "history": {
        "publications": [{"data": {"a": [1, "two"]}, "offset": 3, "tags": {}}],
        "epoch": "e1",
        "ttl": 599,
    },
}


@pytest.mark.parametrize(
    "frame",
    [
        json.dumps(CAME),
        '{"id":1,"history":…}',
        '{"id":1,"history":{…}}',
        '{"id":1,"history":{"epoch":"e1",…}}',
        '{"id":1,"history":{"publications":[…],"epoch":"…","ttl":600}}',
        '{"id":1,"history":{"publications":[{"data":…,…}],"epoch":"EPOCH","ttl":600}}',
        '{"id":1,"history":{"publications":[{"data":{"a":[…]},"offset":3,"tags":{}}],…}}',
        '{"id":1,"KEY":{…}}',
    ],
)
def test_what_is_left_out_may_be_anything(frame: str) -> None:
    """And what is not is as it came."""
    assert agrees(frame, CAME, {})


@pytest.mark.parametrize(
    "frame",
    [
        "{}",
        '{"id":2,"history":{…}}',
        '{"id":1}',
        '{"id":1,"history":[…]}',
        '{"id":1,"history":{"epoch":"e1"}}',
        '{"id":1,"history":{"epoch":"e2",…}}',
        '{"id":1,"history":{"publications":[],"epoch":"e1","ttl":600}}',
        '{"id":1,"history":{"publications":[{…},{…}],…}}',
        '{"id":1,"history":{"publications":[{"data":{"a":[1,"three"]},…}],…}}',
        '{"id":1,"history":{"ttl":"soon",…}}',
        '{"id":1,"history":{…},"more":1}',
    ],
)
def test_what_came_otherwise_is_noticed(frame: str) -> None:
    """Another value, too much, too little."""
    assert not agrees(frame, CAME, {})


def test_a_word_in_capitals_means_the_same_each_time() -> None:
    """It is learnt where it is seen first."""
    known: dict[str, str] = {}
    frame = '{"presence":{"CLIENT":{"client":"CLIENT"}}}'

    def came(key: str, client: str) -> Any:  # noqa: ANN401 - JSON
        return {"presence": {key: {"client": client}}}

    assert not agrees(frame, came("c1", "c2"), {})
    assert agrees(frame, came("c1", "c1"), known)
    assert known == {"CLIENT": "c1"}
    assert not agrees(frame, came("c2", "c2"), known)


def test_only_what_is_said_in_turn_is_a_conversation() -> None:
    """A picture is none."""
    assert is_conversation('> {}\n< {"a":1,\n   "b":2}\nbob> {}\n')
    assert not is_conversation("browser\n  |\n")
    assert not is_conversation("")


def test_the_blocks_of_a_page_are_found_with_what_is_said_of_them() -> None:
    """Language, first line, the comment before it."""
    found = blocks(ROOT / "docs" / "tutorial.md")
    file = next(block for block in found if block.note == "visit.py")

    assert (file.language, file.word) == ("python", "file")
    lines = (ROOT / file.page).read_text("utf-8").splitlines()
    assert file.text.splitlines()[0] == lines[file.line - 1]
    assert {block.language for block in found} == {"sh", "text", "toml", "python", ""}
