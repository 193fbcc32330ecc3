"""The clients among the examples do what their texts say, as programs of their own."""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest
from websockets.sync.server import ServerConnection, serve

from tests.docs.examples.program import Program
from tests.integration.embedded import Embedded

pytestmark = pytest.mark.integration

Run = Callable[..., Program]


@pytest.fixture
def run(gateway: Embedded, tmp_path: Path) -> Iterator[Run]:
    """Start an example as a user of the gateway."""
    (tmp_path / ".local").symlink_to(gateway.local)

    with ExitStack() as stack:

        def run(name: str, *arguments: str, user: str = "alice") -> Program:
            variables = {"DRAWBRIDGE": f"localhost:{gateway.front}", "TOKEN": gateway.token(user)}
            program = Program(name, *arguments, directory=tmp_path, variables=variables)
            stack.enter_context(program.process)
            stack.callback(program.process.kill)
            return program

        yield run


def test_own_copies_are_told_by_the_connection_s_name(run: Run) -> None:
    """Of the same user's two connections, each tells its own publication."""
    status, said, complained = run("broadcast.py").end()

    assert (status, complained) == (0, "")
    assert said.splitlines() == [
        "the first hears: I keep my own (my own)",
        "the first hears: I drop my own",
        "the second hears: I keep my own",
    ]


def test_who_is_in_a_room_hears_what_is_said_there(run: Run) -> None:
    """From joining to leaving."""
    alice, bob = run("rooms.py"), run("rooms.py", user="bob")
    bob.type("join garden", "say garden I am in")
    assert bob.line() == "[garden] bob: I am in"

    alice.type("join garden", "say garden hello")
    assert alice.line() == bob.line() == "[garden] alice: hello"
    alice.type("leave garden", "say garden bye")
    assert bob.line() == "[garden] alice: bye"
    alice.type("join hall", "say hall anybody?")
    assert alice.line() == "[hall] alice: anybody?"

    alice.type("sing", "join " + "x" * 300)
    assert alice.line() == "join ROOM, say ROOM TEXT or leave ROOM"
    assert alice.line() == "that failed: bad request (107)"
    for program in (alice, bob):
        status, said, complained = program.end()
        assert (status, said.strip(), complained) == (0, "closed: 1000", "")


def test_the_door_of_a_room_is_watched(run: Run) -> None:
    """Who is here on entering, then who comes and goes."""
    alice = run("who.py", "garden")
    assert {alice.line(), alice.line()} == {"alice came", "here: alice"}

    bob = run("who.py", "garden", user="bob")
    assert alice.line() == "bob came"
    bob.process.send_signal(signal.SIGINT)
    assert alice.line() == "bob went"


def test_protobuf_carries_the_same_payloads(run: Run) -> None:
    """Published and read back by the official SDK."""
    status, said, complained = run("protobuf.py").end()

    assert (status, complained) == (0, "")
    assert [line.split(" ", 1)[1] for line in said.splitlines()] == [
        f"{{'number': {number}}}" for number in range(3)
    ]


def test_a_private_message_reaches_its_receiver(run: Run) -> None:
    """By the id that the receiver's side printed."""
    bob = run("private.py", user="bob")
    bob_id = bob.line().removeprefix("I am ")

    assert run("private.py", bob_id, "hello", "bob").end() == (0, "", "")
    assert bob.line() == "alice: hello bob"

    bob.process.send_signal(signal.SIGINT)
    assert bob.end() == (0, "", "")


def test_a_private_message_to_nobody_is_not_connected(run: Run) -> None:
    """The sender is told."""
    assert run("private.py", "nobody", "hello").end() == (1, "", "not connected\n")


def test_another_process_is_heard_in_a_room(run: Run) -> None:
    """And knows by its status whether it was."""
    bob = run("rooms.py", user="bob")
    bob.type("join kitchen", "say kitchen I am in")
    assert bob.line() == "[kitchen] bob: I am in"

    assert run("from_process.py", "room:kitchen", "the cake is ready").end() == (0, "", "")
    assert bob.line() == "[kitchen] alice: the cake is ready"
    refused = run("from_process.py", "staff:kitchen", "the cake is ready").end()
    assert refused == (1, "", "permission denied (103)\n")


def test_the_benchmark_counts_every_delivery(run: Run) -> None:
    """As many as clients times messages, and how long they took."""
    options = ("--clients", "5", "--messages", "4", "--rate", "100")
    status, said, complained = run("benchmark.py", *options).end()

    assert (status, complained) == (0, "")
    counted, latencies = said.splitlines()
    assert counted.startswith("20 of 20 deliveries in ")
    assert [part.split(":")[0] for part in latencies.replace(",", "").split(" ms")] == [
        "p50",
        " p95",
        " p99",
        " max",
        "",
    ]


def test_talk_sends_what_is_typed_and_prints_what_comes(tmp_path: Path) -> None:
    """With the bearer; text, bytes, and how it was closed."""
    bearers: list[str] = []

    def answer(socket: ServerConnection) -> None:
        assert socket.request is not None
        bearers.append(socket.request.headers["Authorization"])
        for message in socket:
            if message == "go":
                socket.close(4001, "gone")
            else:
                socket.send(message)

    with serve(answer, "127.0.0.1", 0) as server:
        serving = threading.Thread(target=server.serve_forever)
        serving.start()
        url = f"ws://127.0.0.1:{server.socket.getsockname()[1]}/any"
        talk = Program("talk.py", url, directory=tmp_path, variables={"TOKEN": "t"})
        talk.type("hello", "0x00ff", "0xyz", "go")
        said = [talk.line() for _ in range(4)]
        ended = talk.end()
        server.shutdown()
        serving.join()

    assert said == ["hello", r"b'\x00\xff'", "0xyz", "closed: 4001 gone"]
    assert ended == (0, "", "")
    assert bearers == ["Bearer t"]
