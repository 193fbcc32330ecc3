"""The endpoints among the examples do what their texts say."""

from __future__ import annotations

import asyncio
import re
import threading
from collections.abc import AsyncGenerator, Callable, Iterator
from contextlib import AbstractContextManager
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest
from starlette.testclient import TestClient, WebSocketDenialResponse, WebSocketTestSession

from docs.examples import (
    clock,
    formats,
    from_thread,
    goodbye,
    greeting,
    refuse,
    streamed,
    validated,
)
from tests.docs.examples.door import client_of, header

STAYING = (clock, formats, from_thread, goodbye, refuse, streamed, validated)
TEXT_ONLY = tuple(example for example in STAYING if example is not formats)
Enter = Callable[..., AbstractContextManager[WebSocketTestSession]]


def name(example: ModuleType) -> str:
    """Return the file's name, which is its route's as well."""
    return example.__name__.rpartition(".")[2]


@pytest.fixture
def client(request: pytest.FixtureRequest) -> Iterator[TestClient]:
    """The client of the example that the test is about."""
    with client_of(request.param) as client:
        yield client


@pytest.fixture
def enter(client: TestClient, request: pytest.FixtureRequest) -> Enter:
    """Open that example's WebSocket with a good token."""
    path = f"/{name(request.node.callspec.params['client'])}"

    def enter(**claims: object) -> AbstractContextManager[WebSocketTestSession]:
        return client.websocket_connect(path, headers=header(**claims))

    return enter


def about(*examples: ModuleType) -> pytest.MarkDecorator:
    """Say which examples a test is about."""
    return pytest.mark.parametrize("client", examples, indirect=True, ids=name)


def said(socket: WebSocketTestSession, text: str) -> str:
    """Say something and return the answer."""
    socket.send_text(text)
    return socket.receive_text()


def told(socket: WebSocketTestSession, text: str) -> Any:  # noqa: ANN401
    """Say something and return the answer, which is JSON."""
    socket.send_text(text)
    return socket.receive_json()


def ending(socket: WebSocketTestSession) -> tuple[int, str]:
    """Return how the server closes, whatever it says before."""
    while (message := socket.receive())["type"] != "websocket.close":
        pass
    return message["code"], message["reason"]


# What all have in common


@about(*STAYING, greeting)
def test_without_a_token_nobody_comes_in(
    client: TestClient, request: pytest.FixtureRequest
) -> None:
    """Refused before the upgrade, with the true status."""
    path = f"/{name(request.node.callspec.params['client'])}"

    with pytest.raises(WebSocketDenialResponse) as denied:
        client.websocket_connect(path).__enter__()

    assert denied.value.status_code == 401


@about(*STAYING)
def test_the_token_s_end_is_the_connection_s(
    enter: Enter, request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A socket does not outlive the token it was opened with."""
    # The example alone believes that the token's time is over.
    example = request.node.callspec.params["client"]
    monkeypatch.setattr(example, "time", SimpleNamespace(time=lambda: float("inf")))

    with enter() as socket:
        assert ending(socket) == (3005, "connection expired")


@about(*TEXT_ONLY)
def test_bytes_are_refused_where_text_is_meant(enter: Enter) -> None:
    """With a code, and not as an error of the server's."""
    with enter() as socket:
        socket.send_bytes(b"hello")

        assert ending(socket) == (1003, "text only")


# Each one's idea


@about(clock)
def test_the_clock_sends_the_time_while_the_client_speaks(
    enter: Enter, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Times come by themselves, before and after an answer."""
    monkeypatch.setattr(clock, "INTERVAL_SECONDS", 0.01)
    with enter() as socket:
        before = socket.receive_text()
        answer = said(socket, "hello")
        while answer != "you said: hello":
            answer = socket.receive_text()
        after = socket.receive_text()

    assert all(re.fullmatch(r"\d\d:\d\d:\d\d UTC", text) for text in (before, after))


@about(greeting)
@pytest.mark.parametrize(
    ("claims", "expected"),
    [
        ({"info": {"name": "Alice"}}, "hello Alice"),
        ({"info": {"name": ""}}, "hello "),
        ({"info": {"name": 7}}, "hello alice"),
        ({"info": {}}, "hello alice"),
        ({}, "hello alice"),
    ],
)
def test_the_greeting_is_by_name_or_else_by_id(
    enter: Enter, claims: dict[str, object], expected: str
) -> None:
    """Whatever an issuer puts into the token."""
    with enter(**claims) as socket:
        assert socket.receive_text() == expected
        assert ending(socket) == (1000, "that was all")


@about(formats)
def test_each_format_is_answered_in_kind(enter: Enter) -> None:
    """Bytes by bytes, a JSON object by a JSON object, other text by text."""
    with enter() as socket:
        socket.send_bytes(b"\x00\xff")
        assert socket.receive_bytes() == b"\xff\x00"
        socket.send_bytes(b"")
        assert socket.receive_bytes() == b""
        assert told(socket, '{"number": 20}') == {"number": 20, "read": True}
        for text in ("hello", "20", "[1]", "{", "[" * 100_000):
            assert said(socket, text) == text.upper()


@about(refuse)
@pytest.mark.parametrize(
    ("text", "expected"),
    [("", (1008, "say something")), ("x" * 21, (1009, "at most 20 characters"))],
)
def test_a_bad_message_ends_it_with_code_and_reason(
    enter: Enter, text: str, expected: tuple[int, str]
) -> None:
    """After good ones have been taken."""
    with enter() as socket:
        assert said(socket, "x" * 20) == "good: " + "x" * 20
        socket.send_text(text)

        assert ending(socket) == expected


@about(goodbye)
@pytest.mark.parametrize(
    ("request_", "expected"),
    [("pause", (4001, "come back soon")), ("leave", (4002, "farewell"))],
)
def test_the_client_chooses_how_it_ends(
    enter: Enter, request_: str, expected: tuple[int, str]
) -> None:
    """Among the codes of the application."""
    with enter() as socket:
        assert said(socket, "hello") == "say pause or leave"
        socket.send_text(request_)

        assert ending(socket) == expected


@about(validated)
def test_what_does_not_fit_the_model_is_answered_and_it_goes_on(enter: Enter) -> None:
    """Where it is wrong, and how; the input is not sent back."""
    with enter() as socket:
        assert told(socket, '{"text": "hello"}') == {"accepted": {"text": "hello", "mood": "calm"}}
        wrong = told(socket, '{"text": "", "mood": "odd", "more": 1}')["errors"]
        assert [error["at"] for error in wrong] == [["text"], ["mood"], ["more"]]
        assert [error["at"] for error in told(socket, "hello")["errors"]] == [[]]
        assert "accepted" in told(socket, '{"text": "x", "mood": "glad"}')


class Model:
    """A model that says one word and then thinks until it is allowed to end."""

    def __init__(self) -> None:
        self.may_end = False
        self.ended = threading.Event()

    async def answer(self, question: str) -> AsyncGenerator[str, None]:
        """Answer like the example's."""
        try:
            yield question
            if not self.may_end:
                await asyncio.Event().wait()
        finally:
            self.ended.set()


@pytest.fixture
def model(monkeypatch: pytest.MonkeyPatch) -> Model:
    """A model in the example's place."""
    model = Model()
    monkeypatch.setattr(streamed, "answer", model.answer)
    return model


@about(streamed)
def test_a_long_answer_is_stopped_in_the_middle(enter: Enter, model: Model) -> None:
    """Then the next question may be asked; the model is stopped too."""
    with enter() as socket:
        assert told(socket, "why") == {"piece": "why"}
        assert told(socket, "what") == {"error": "one question at a time"}
        assert told(socket, "stop") == {"end": "stopped"}
        assert model.ended.is_set()

        model.may_end = True
        socket.send_text("stop")  # nothing to stop, nothing to say
        assert told(socket, "how") == {"piece": "how"}
        assert socket.receive_json() == {"end": "complete"}


@about(streamed)
def test_the_answer_ends_with_its_listener(enter: Enter, model: Model) -> None:
    """Nobody pays for words that nobody hears."""
    with enter() as socket:
        assert told(socket, "why") == {"piece": "why"}

    assert model.ended.wait(5)


@about(streamed)
def test_the_answer_of_the_example_comes_in_pieces(enter: Enter) -> None:
    """As it stands in the file."""
    with enter() as socket:
        assert told(socket, "why") == {"piece": "why? "}
        assert socket.receive_json() == {"piece": "On "}
        assert told(socket, "stop") == {"end": "stopped"}


@about(from_thread)
def test_what_a_thread_tells_arrives_in_order(
    enter: Enter, monkeypatch: pytest.MonkeyPatch
) -> None:
    """And the next order is taken."""
    threads: list[threading.Thread] = []

    def work(steps: int, tell: Callable[[str], None]) -> None:
        threads.append(threading.current_thread())
        for step in range(steps):
            tell(f"step {step}")

    monkeypatch.setattr(from_thread, "work", work)
    with enter() as socket:
        assert said(socket, "0") == "a number from 1 to 9, please"
        for _ in range(2):
            socket.send_text("9")
            assert [socket.receive_text() for _ in range(9)] == [f"step {n}" for n in range(9)]

    assert threading.main_thread() not in threads


def test_the_work_of_the_example_tells_how_far_it_is(monkeypatch: pytest.MonkeyPatch) -> None:
    """As it stands in the file, but for the waiting."""
    monkeypatch.setattr(from_thread, "time", SimpleNamespace(sleep=lambda _: None))
    heard: list[str] = []

    from_thread.work(2, heard.append)

    assert heard == ["1 of 2", "2 of 2"]
