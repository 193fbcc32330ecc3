"""The example does what its text says."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace

import pytest
from starlette.testclient import TestClient, WebSocketDenialResponse, WebSocketTestSession
from starlette.websockets import WebSocketDisconnect

from docs.examples import own_endpoint
from tests.docs.examples.door import ORIGIN, client_of, header, mint


@pytest.fixture
def client() -> Iterator[TestClient]:
    """The example's client; its verifier, but for the network."""
    with client_of(own_endpoint) as client:
        yield client


@pytest.fixture
def good() -> dict[str, str]:
    """The header of a good token."""
    return header()


def status(client: TestClient, path: str, headers: dict[str, str]) -> int:
    """Return the status of a refusal."""
    if path == "/me":
        return int(client.get(path, headers=headers).status_code)
    with pytest.raises(WebSocketDenialResponse) as denied:
        client.websocket_connect(path, headers=headers).__enter__()
    return int(denied.value.status_code)


def test_me_answers_who_is_asking(client: TestClient, good: dict[str, str]) -> None:
    """The HTTP route, with a token."""
    assert client.get("/me", headers=good).json() == {"user": "alice"}


def test_echo_answers_under_the_senders_name(client: TestClient, good: dict[str, str]) -> None:
    """The WebSocket route, with a token in the header."""
    with client.websocket_connect("/echo", headers=good) as socket:
        assert echoed(socket, "hello") == "alice: hello"
        assert echoed(socket, "again") == "alice: again"


def test_browser_offers_its_token_as_a_subprotocol(client: TestClient) -> None:
    """As the text's last line says."""
    names = ["echo", "bearer." + mint()]

    with client.websocket_connect(
        "/echo", subprotocols=names, headers={"Origin": ORIGIN}
    ) as socket:
        assert echoed(socket, "hello") == "alice: hello"
        assert socket.accepted_subprotocol == "echo"


def test_echo_ends_with_its_token(
    client: TestClient, good: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A socket does not outlive the token it was opened with."""
    # The example alone believes that the token's time is over.
    monkeypatch.setattr(own_endpoint, "time", SimpleNamespace(time=lambda: float("inf")))

    with (
        client.websocket_connect("/echo", headers=good) as socket,
        pytest.raises(WebSocketDisconnect) as closed,
    ):
        socket.receive_text()
    assert closed.value.code == 3005


def test_echo_takes_text_only(client: TestClient, good: dict[str, str]) -> None:
    """Bytes close it with a code, and are no error of the server's."""
    with client.websocket_connect("/echo", headers=good) as socket:
        socket.send_bytes(b"hello")
        message = socket.receive()

    assert (message["type"], message["code"]) == ("websocket.close", 1003)


@pytest.mark.parametrize("path", ["/me", "/echo"])
@pytest.mark.parametrize(
    ("headers", "expected"),
    [
        ({}, 401),
        ({"Authorization": "Bearer nonsense"}, 401),
        ({"Authorization": f"Bearer {mint(ORIGIN, 'other')}"}, 401),
        ({"Authorization": f"Bearer {mint('https://other.example', 'drawbridge')}"}, 401),
        ({"Authorization": f"Bearer {mint(ORIGIN, 'drawbridge', -30)}"}, 401),
        ({"Origin": "https://evil.example"}, 403),
    ],
)
def test_everybody_else_is_refused(
    client: TestClient, path: str, headers: dict[str, str], expected: int
) -> None:
    """None, bad, for others, from others, expired; and a foreign page."""
    assert status(client, path, headers) == expected


@pytest.mark.parametrize("path", ["/me", "/echo"])
def test_foreign_page_is_refused_with_a_good_token(
    client: TestClient, good: dict[str, str], path: str
) -> None:
    """The origin counts whatever the credential."""
    assert status(client, path, {"Origin": "https://evil.example", **good}) == 403


def echoed(socket: WebSocketTestSession, text: str) -> str:
    """Send a text and return what comes back."""
    socket.send_text(text)
    return socket.receive_text()


def test_it_is_found_by_a_server_started_anywhere(tmp_path: Path) -> None:
    """The command in its text puts only the examples' folder on the path, not the project's."""
    examples = Path(own_endpoint.__file__).parent

    done = subprocess.run(
        [sys.executable, "-c", "import own_endpoint"],
        cwd=tmp_path,
        env={"PYTHONPATH": str(examples)},
        capture_output=True,
        text=True,
        check=False,
    )

    assert (done.returncode, done.stderr) == (0, "")
