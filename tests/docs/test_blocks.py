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

READ_HERE = (
    "README.md",
    "docs/channels.md",
    "docs/examples/README.md",
    "docs/hooks.md",
    "docs/presence.md",
    "docs/protocol.md",
    "docs/revocations.md",
)
"""The pages whose blocks run below, in their order, as a reader would paste them."""

NOT_RUN = {
    "README.md": 2,
    "docs/load.md": 1,
    "docs/stack.md": 3,
}
"""How many blocks of a page are left out, each with its reason; one more is looked at twice."""


class Servers:
    """The one server of the pages that need no settings of their own, and one that such a page has.

    Args:
        directory: Where they keep their files.
    """

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._own: Embedded | None = None
        self.shared = make_server(directory, {}).start()

    def start(self, settings: Mapping[str, str]) -> Embedded:
        """Return the server of ``make run`` with these settings before it."""
        self.stop_own()
        if not settings:
            return self.shared
        directory = self._directory / "own"
        directory.mkdir(exist_ok=True)
        self._own = make_server(directory, settings).start()
        return self._own

    def stop_own(self) -> None:
        """Stop the server with the settings of one page."""
        if self._own is not None:
            self._own.stop()
            self._own = None


@pytest.fixture(scope="module")
def servers(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Servers]:
    """What the pages talk to."""
    started = Servers(tmp_path_factory.mktemp("pages"))
    yield started
    started.stop_own()
    started.shared.stop()


@pytest.mark.parametrize("page", READ_HERE)
def test_every_block_of_the_page_does_what_it_says(
    page: str, servers: Servers, tmp_path: Path
) -> None:
    """One after the other; a program ends with 0 and no complaint."""
    reader = Reader(tmp_path, start=servers.start, server=servers.shared)
    try:
        for block in blocks(ROOT / page):
            reader.do(block)
    finally:
        reader.end()
        servers.stop_own()


def unread() -> list[Block]:
    """List the blocks that run neither here nor in a test of their page's own."""
    return [
        block
        for page in PAGES
        for block in blocks(page)
        if block.language != PICTURE
        and block.word != "not run"
        and name_of(page) not in READ_HERE
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
