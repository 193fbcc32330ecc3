"""Every code block of every page runs in a test, or the page says why it cannot."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest

from tests.docs.blocks import PAGES, PICTURE, ROOT, Block, blocks, name_of
from tests.docs.reader import Reader, make_server
from tests.integration.embedded import Embedded

pytestmark = pytest.mark.integration

TUTORIAL = "docs/tutorial.md"
READ_HERE = (
    "README.md",
    "README.zh.md",
    "docs/bare.md",
    "docs/channels.md",
    "docs/examples/README.md",
    "docs/hooks.md",
    "docs/migrating.md",
    "docs/presence.md",
    "docs/protocol.md",
    "docs/revocations.md",
)
"""The pages whose blocks run below, in their order, as a reader would paste them."""

NOT_RUN = {
    "README.md": 2,
    "docs/api.md": 1,
    "docs/canary.md": 2,
    "docs/kubernetes.md": 5,
    "docs/load.md": 1,
    "docs/migrating.md": 3,
    "docs/operations.md": 4,
    "docs/reliability.md": 1,
    "docs/stack.md": 5,
}
"""How many blocks of a page are left out, each with its reason; one more is looked at twice."""


class OwnServer:
    """The server that a page starts by itself, and starts again with other settings.

    Args:
        directory: Where it keeps its files, from one start to the next.
    """

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._server: Embedded | None = None

    def start(self, settings: Mapping[str, str]) -> Embedded:
        """Do what ``make run`` with these settings before it does, after Ctrl-C."""
        ports = None if self._server is None else self._server.ports
        self.stop()
        self._server = make_server(self._directory, settings, ports=ports).start()
        return self._server

    def stop(self) -> None:
        """Stop it, if it runs."""
        if self._server is not None:
            self._server.stop()


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Embedded]:
    """The server that the pages talk to which need no settings of their own."""
    server = make_server(tmp_path_factory.mktemp("pages"), {}).start()
    yield server
    server.stop()


@pytest.fixture
def own(tmp_path_factory: pytest.TempPathFactory) -> Iterator[OwnServer]:
    """The server of a page that has such settings."""
    server = OwnServer(tmp_path_factory.mktemp("own"))
    yield server
    server.stop()


def read(page: str, reader: Reader) -> None:
    """Do what the page says, from its first block to its last."""
    try:
        for block in blocks(ROOT / page):
            reader.do(block)
    finally:
        reader.end()


@pytest.mark.parametrize("page", READ_HERE)
def test_every_block_of_the_page_does_what_it_says(
    page: str, running: Embedded, own: OwnServer, tmp_path: Path
) -> None:
    """One after the other; a program ends with 0 and no complaint."""
    read(page, Reader(tmp_path, start=own.start, server=running))


# It starts its server four times, and sixteen programs.
@pytest.mark.timeout(300)
def test_the_tutorial_can_be_followed(own: OwnServer, tmp_path: Path) -> None:
    """From ``make run`` to a room with a memory and rules, with nothing that it does not say."""
    read(TUTORIAL, Reader(tmp_path, start=own.start))


def unread() -> list[Block]:
    """List the blocks that run neither here nor in a test of their page's own."""
    return [
        block
        for page in PAGES
        for block in blocks(page)
        if block.language != PICTURE
        and block.word != "not run"
        and name_of(page) not in (*READ_HERE, TUTORIAL)
        and not (Path(__file__).with_name(f"test_{page.stem}.py")).exists()
    ]


def test_no_block_is_forgotten() -> None:
    """A page is read here, or in ``tests/docs/test_PAGE.py``, or its block says why not."""
    assert [str(block) for block in unread()] == []


def test_blocks_that_do_not_run_are_few_and_say_why() -> None:
    """And no fence is hidden from these tests, by blanks before it or in another way."""
    left_out: dict[str, int] = {}
    for page in PAGES:
        found = blocks(page)
        assert len(found) * 2 == len(re.findall(r"^\s*```", page.read_text("utf-8"), re.MULTILINE))
        for block in found:
            if block.word == "not run":
                assert len(block.note.split()) > 2, block
                left_out[block.page] = left_out.get(block.page, 0) + 1

    assert left_out == NOT_RUN
