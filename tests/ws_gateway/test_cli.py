"""The commands for a terminal, against a gateway that plays its part."""

from __future__ import annotations

import io
import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from typing_extensions import override

from ws_gateway import cli
from ws_gateway.exceptions import ConfigurationError

CONNECTION = {
    "client": "c-1",
    "user": "ali\x1bce",
    "node": "n",
    "since": 0.0,
    "address": "192.0.2.7",
    "codec": "json",
    "channels": 2,
}
CLOSE = {
    "at": 0.0,
    "client": "c-1",
    "user": "alice",
    "address": "",
    "code": 3503,
    "reason": "force disconnect",
    "detail": "server API",
    "lasted": 1.5,
    "node": "n",
}
ANSWERS: dict[str, object] = {
    "/api/connections?limit=100&after=": {
        "connections": [CONNECTION],
        "next": "c-1",
        "complete": False,
    },
    "/api/connections?limit=5&user=a%26b&after=c": {
        "connections": [],
        "next": "",
        "complete": True,
    },
    "/api/connections/c-1": {"client": "c-1", "claims": None},
    "/api/closes?limit=100&code=3503": {
        "closes": [CLOSE],
        "by_code": {"3503": 1},
        "complete": True,
    },
}


class Internal(ThreadingHTTPServer):
    """An internal port."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.keys: list[str | None] = []
        self.url = f"http://127.0.0.1:{self.server_port}"


class _Handler(BaseHTTPRequestHandler):
    server: Internal

    def do_GET(self) -> None:
        self.server.keys.append(self.headers.get("X-API-Key"))
        found = ANSWERS.get(self.path)
        body = json.dumps(found or {"detail": "there is no such connection"}).encode()
        self.send_response(200 if found else 404)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    @override
    def log_message(self, *_arguments: object) -> None:
        """Say nothing."""


@pytest.fixture(scope="module")
def internal() -> Iterator[Internal]:
    """A gateway's internal port."""
    server = Internal()
    thread = threading.Thread(target=server.serve_forever, args=(0.01,))
    thread.start()
    yield server
    server.shutdown()
    server.server_close()
    thread.join()


def ask(internal: Internal, *arguments: str) -> tuple[int, str]:
    """Type a command; returns the status and what it prints."""
    out = io.StringIO()
    environment = {"GATEWAY_API_KEY": "secret-key"}
    status = cli.main(
        ["connections", *arguments], url=internal.url, environment=environment, out=out
    )
    return status, out.getvalue()


def test_connections_are_listed(internal: Internal, capsys: pytest.CaptureFixture[str]) -> None:
    """A line each; names that others chose cannot steer the terminal."""
    status, said = ask(internal, "list")

    first, more = said.splitlines()
    assert status == 0
    assert first.startswith("c-1  ")
    assert "192.0.2.7" in first
    assert first.endswith("2 channels  ali?ce")
    assert more == "more: --after c-1"
    assert capsys.readouterr().err == "some gateways have not answered\n"
    assert internal.keys[-1] == "secret-key"


def test_its_questions_are_passed_on(internal: Internal) -> None:
    """Whatever is in a name."""
    assert ask(internal, "list", "--user", "a&b", "--after", "c", "--limit", "5") == (0, "")


def test_one_connection_is_shown(internal: Internal) -> None:
    """As JSON, whole."""
    status, said = ask(internal, "show", "c-1")

    assert status == 0
    assert json.loads(said) == ANSWERS["/api/connections/c-1"]


def test_ends_are_listed_with_their_reasons(internal: Internal) -> None:
    """And counted by code."""
    status, said = ask(internal, "closes", "--code", "3503")

    line, counts = said.splitlines()
    assert status == 0
    assert "c-1  3503  alice  after 1.5 s  force disconnect (server API)" in line
    assert counts == "3503: 1"


def test_json_is_the_api_s_own(internal: Internal) -> None:
    """For other programs."""
    _, said = ask(internal, "closes", "--code", "3503", "--json")

    assert json.loads(said)["by_code"] == {"3503": 1}


def test_a_refusal_is_one_line(internal: Internal, capsys: pytest.CaptureFixture[str]) -> None:
    """Never with the key."""
    status, said = ask(internal, "show", "../x y")

    assert (status, said) == (1, "")
    assert capsys.readouterr().err == "404: there is no such connection\n"


def test_nobody_there_is_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    """It names the address."""
    environment = {"GATEWAY_API_KEY": "secret-key"}

    status = cli.main(
        ["connections", "list", "--url", "http://127.0.0.1:1"], url="", environment=environment
    )

    assert status == 1
    assert capsys.readouterr().err == "http://127.0.0.1:1: ConnectError\n"


def test_the_key_comes_from_the_environment(internal: Internal, tmp_path: Path) -> None:
    """Or a file it names; never from the command line, which others can see."""
    (tmp_path / "key").write_text("from-file\n")
    arguments = ["connections", "show", "c-1"]
    environment = {"GATEWAY_API_KEY_FILE": str(tmp_path / "key")}
    out = io.StringIO()

    assert cli.main(arguments, url=internal.url, environment=environment, out=out) == 0
    assert internal.keys[-1] == "from-file"
    with pytest.raises(ConfigurationError, match="GATEWAY_API_KEY_FILE: cannot read"):
        cli.main(arguments, url="", environment={"GATEWAY_API_KEY_FILE": str(tmp_path / "none")})
    with pytest.raises(ConfigurationError, match="GATEWAY_API_KEY: "):
        cli.main(arguments, url="", environment={})


def test_a_command_that_is_none_says_how(capsys: pytest.CaptureFixture[str]) -> None:
    """Argparse's own words."""
    with pytest.raises(SystemExit, match="2"):
        cli.main(["explode"], url="")

    assert "usage: python -m ws_gateway" in capsys.readouterr().err
