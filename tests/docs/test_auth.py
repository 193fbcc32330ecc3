"""The commands of docs/auth.md do what the page says."""

from __future__ import annotations

import asyncio
import html
import json
import re
import shlex
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import httpx2
import pytest
from redis.asyncio import Redis

from auth_service.cli import main
from auth_service.revocation_publisher import STREAM
from tests.docs.shell import Shell
from tests.integration.embedded import Embedded
from tests.redis_server import RedisServer

PAGE = (Path(__file__).parents[2] / "docs" / "auth.md").read_text("utf-8")
# What a person does in a browser between two blocks.
_PERSON = re.compile(r"^<!-- person: (\w+) -->$|^```sh\n(.*?)^```$", re.MULTILINE | re.DOTALL)


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Embedded]:
    """`make run`, on ports and with files of its own."""
    started = Embedded(tmp_path_factory.mktemp("auth")).start()
    yield started
    started.stop()


class _Person:
    """Who opens an address and allows what it asks for."""

    def __init__(self, server: Embedded) -> None:
        self._server = server
        self._http = httpx2.Client(verify=server.context, trust_env=False)

    def allow(self, address: str) -> httpx2.Response:
        """Log in as alice and allow it; returns the last answer, followed nowhere."""
        page = self._http.get(address)
        assert page.status_code == httpx2.codes.OK, page.text
        fields = {
            html.unescape(name): html.unescape(value)
            for name, value in re.findall(
                r'<input type="hidden" name="([^"]*)" value="([^"]*)">', page.text
            )
        }
        return self._http.post(
            address.partition("?")[0],
            headers={"Origin": self._server.url},
            data={
                **fields,
                "username": "alice",
                "password": self._server.passwords["alice"],
                "decision": "approve",
            },
        )

    def leave(self) -> None:
        """Close the browser."""
        self._http.close()


class _Operator:
    """One shell, told a block after the other, beside the server's database and keys."""

    def __init__(self, server: Embedded) -> None:
        self._local = server.local
        self._origin = server.url
        variables = server.environment | {
            "AUTH_ISSUER": server.url,
            "AUTH_DATABASE_URL": f"sqlite+aiosqlite:///{server.local}/auth.db",
            "AUTH_KEYS_DIR": f"{server.local}/keys",
        }
        self._shell = Shell(Path.cwd(), variables)

    def tell(self, block: str) -> list[str]:
        """Run a block; returns the lines it printed."""
        text = block.replace(".venv/bin/python", shlex.quote(sys.executable))
        text = text.replace(".local/", f"{self._local}/")
        return self._shell.tell(text.replace("https://localhost:8443", self._origin))

    def end(self) -> None:
        """Close the shell."""
        self._shell.end()


# Each order is a process, and there are many.
@pytest.mark.timeout(300)
def test_every_block_of_the_page_works_in_turn(server: Embedded) -> None:
    """As a reader pastes them, with a person where the page asks for one."""
    shell, person = _Operator(server), _Person(server)
    printed: list[list[str]] = []
    try:
        for who, block in _PERSON.findall(PAGE):
            if who == "code":
                answer = person.allow(printed[-1][-1])
                assert answer.status_code == httpx2.codes.SEE_OTHER, answer.text
                (code,) = parse_qs(urlsplit(answer.headers["Location"]).query)["code"]
                shell.tell(f"CODE={shlex.quote(code)}")
            elif who == "device":
                assert person.allow(printed[-1][-1]).status_code == httpx2.codes.OK
            else:
                printed.append(shell.tell(block))
    finally:
        person.leave()
        shell.end()

    said = ["\n".join(lines) for lines in printed]
    for words in ("api introspect", "Bearer", "connect", '"username":"alice"', '{"active":false}'):
        assert [text for text in said if words in text], words
    assert [text for text in said if "verdict" in text and "tables" not in text]
    assert [text for text in said if "pending" in text and "active" in text]


def test_every_order_of_the_table_exists(capsys: pytest.CaptureFixture[str]) -> None:
    """`--help` knows it."""
    rows = dict(
        re.findall(
            r"^\| `(users|clients|keys|tokens|config|audit)` \| (.*) \|$", PAGE, re.MULTILINE
        )
    )
    for noun, cell in rows.items():
        with pytest.raises(SystemExit):
            main([noun, "--help"])
        told = capsys.readouterr().out
        for order in re.findall(r"`([a-z-]+)[^`]*`", cell):
            assert order in told

    assert len(rows) == 6


def test_the_token_services_line_for_redis_is_enough(tmp_path: Path) -> None:
    """A user made by it publishes a revocation, and may do nothing else."""
    (line,) = re.findall(r"^user drawbridge-auth (.*)$", PAGE, re.MULTILINE)
    redis = RedisServer(tmp_path).start()
    server = Embedded(
        tmp_path,
        {"AUTH_REDIS_URL": f"redis://drawbridge-auth:SECRET@127.0.0.1:{redis.port}"},
    )

    async def refused() -> bool:
        client = Redis(port=redis.port, username="drawbridge-auth", password="SECRET")
        try:
            await client.get("drawbridge:1:ch:x")
        except Exception as error:  # noqa: BLE001 - whichever way it is refused
            return "NOPERM" in str(error) or "permission" in str(error)
        finally:
            await client.aclose()
        return False

    try:
        redis.ask("ACL", "SETUSER", "drawbridge-auth", *line.split())
        server.start()
        environment = {
            **server.environment,
            "AUTH_ISSUER": server.url,
            "AUTH_DATABASE_URL": f"sqlite+aiosqlite:///{server.local}/auth.db",
            "AUTH_KEYS_DIR": f"{server.local}/keys",
        }
        done = subprocess.run(
            [sys.executable, "-m", "auth_service", "users", "logout", "alice"],
            env=environment,
            capture_output=True,
            check=False,
        )
        assert (done.returncode, done.stderr) == (0, b"")
        assert [fields[b"kind"] for _, fields in redis.ask("XRANGE", STREAM, "-", "+")] == [
            b"log",
            b"sub",
        ]
        assert asyncio.run(refused())
        server.stop()
    finally:
        redis.kill()


def test_the_list_of_issuers_is_one(server: Embedded) -> None:
    """The gateway reads the example."""
    (text,) = re.findall(r"^```json\n(.*?)^```", PAGE, re.MULTILINE | re.DOTALL)

    assert {entry["user_prefix"] for entry in json.loads(text)} == {"own", "id"}
    assert server.process.poll() is None
