"""The examples for whoever runs a gateway: guests, and hooks."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from docs.examples.moderated import hooks, moderate
from tests.docs.examples.program import Program
from tests.integration.embedded import Embedded
from ws_gateway.exceptions import ReplyError
from ws_gateway.hooks import Caller

SETTINGS = {
    "GATEWAY_CHANNELS_FILE": "docs/examples/guests.toml",
    "GATEWAY_HOOKS": "docs.examples.moderated:hooks",
}
ALICE = Caller(user="1", client="c", scopes=frozenset(), info={"name": "alice"})

Run = Callable[..., Program]


@pytest.fixture
def run(tmp_path: Path) -> Iterator[Run]:
    """Start an example against a server that is run as both of them say."""
    server = Embedded(tmp_path / "gateway", SETTINGS)
    server.directory.mkdir()
    server.start()
    (tmp_path / ".local").symlink_to(server.local)
    with ExitStack() as stack:
        stack.callback(server.stop)

        def run(name: str, *arguments: str, user: str = "") -> Program:
            variables = {"DRAWBRIDGE": f"localhost:{server.front}"}
            if user:
                variables["TOKEN"] = server.token(user)
            program = Program(name, *arguments, directory=tmp_path, variables=variables)
            stack.enter_context(program.process)
            stack.callback(program.process.kill)
            return program

        yield run


@pytest.mark.integration
def test_a_guest_hears_what_the_moderator_lets_users_say(run: Run) -> None:
    """Guests listen, users speak, and the hook has its say."""
    guest = run("guests.py")
    assert guest.line() == "I am a guest in the lobby"

    assert run("from_process.py", "lobby", "a darn good day", user="alice").end() == (0, "", "")
    assert guest.line() == "alice: a **** good day"
    shouted = run("from_process.py", "lobby", "HELLO", user="bob").end()
    assert shouted == (1, "", "no shouting, bob (1001)\n")
    guest.type("may I?")
    assert guest.line() == "that failed: permission denied (103)"

    assert guest.end() == (0, "", "")


async def test_what_is_no_text_passes() -> None:
    """And so does a text that nothing is wrong with, byte for byte."""
    assert await moderate(ALICE, "room:1", {"SHOUT": "DARN"}) is None
    assert await hooks.on_publish(ALICE, "room:1", b'"hello"') == b'"hello"'


async def test_a_guest_who_shouts_has_no_name() -> None:
    """Whoever could not be named."""
    guest = Caller(user="", client="c", scopes=frozenset(), info=None)

    with pytest.raises(ReplyError, match="no shouting, guest"):
        await moderate(guest, "room:1", "HELLO")
