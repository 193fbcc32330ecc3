"""The backends among the examples, as programs of their own."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.docs.examples.program import Program
from tests.integration.embedded import Embedded, free_ports

pytestmark = pytest.mark.integration

KEY = "k" * 43
Run = Callable[..., Program]


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Embedded]:
    """A server with a key."""
    started = Embedded(tmp_path_factory.mktemp("backends"), {"GATEWAY_API_KEY": KEY}).start()
    yield started
    started.stop()


@pytest.fixture
def run(server: Embedded, tmp_path: Path) -> Iterator[Run]:
    """Start an example as a backend, or as bob."""
    (tmp_path / ".local").symlink_to(server.local)
    with contextlib.ExitStack() as stack:

        def run(name: str, *arguments: str, **variables: str) -> Program:
            settings = {
                "DRAWBRIDGE": f"localhost:{server.front}",
                "DRAWBRIDGE_API": f"http://127.0.0.1:{server.internal}/api",
                "GATEWAY_API_KEY": KEY,
                "TOKEN": server.token("bob"),
                "no_proxy": "127.0.0.1",
            }
            program = Program(name, *arguments, directory=tmp_path, variables=settings | variables)
            stack.enter_context(program.process)
            stack.callback(program.process.kill)
            return program

        yield run


def listening(run: Run, room: str) -> Program:
    """Let bob hear what is said in a room."""
    bob = run("rooms.py")
    bob.type(f"join {room}", f"say {room} I am in")
    assert bob.line() == f"[{room}] bob: I am in"
    return bob


def test_a_cron_job_is_heard(run: Run) -> None:
    """And its status says so."""
    bob = listening(run, "cron")

    assert run("from_cron.py", "room:cron", "the cake is ready").end() == (0, "", "")

    assert bob.line() == "[cron] the server: the cake is ready"


def test_a_cron_job_that_failed_says_why(run: Run) -> None:
    """What cannot be, who may not, and nobody there."""
    assert run("from_cron.py", "nowhere:1", "x").end() == (1, "", "unknown channel (102)\n")
    status, _, said = run("from_cron.py", "room:1", "x", GATEWAY_API_KEY="wrong").end()
    assert (status, said) == (1, "HTTP Error 401: Unauthorized\n")
    (port,) = free_ports(1)
    status, _, said = run(
        "from_cron.py", "room:1", "x", DRAWBRIDGE_API=f"http://127.0.0.1:{port}/api"
    ).end()
    assert status == 1
    assert "refused" in said


def test_threads_are_heard_through_one(run: Run) -> None:
    """Each of them."""
    bob = listening(run, "threads")

    assert run("from_worker.py", "room:threads").end() == (0, "", "")

    heard = sorted(bob.line() for _ in range(3))
    assert heard == [f"[threads] the server: thread {number} is here" for number in range(3)]
