"""The commands of docs/api.md do what the page says."""

from __future__ import annotations

import json
import re
import shlex
import subprocess
import sys
from collections.abc import Iterator
from typing import Any

import httpx2
import pytest

from tests.docs.blocks import ROOT, blocks
from tests.integration.embedded import Embedded
from ws_gateway.api.messages import REQUESTS

PAGE = ROOT / "docs" / "api.md"
TEXT = PAGE.read_text("utf-8")
KEY = "k" * 43


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Embedded]:
    """`make run` with a key, on ports of its own."""
    started = Embedded(tmp_path_factory.mktemp("api"), {"GATEWAY_API_KEY": KEY}).start()
    yield started
    started.stop()


def run_here(language: str) -> list[str]:
    """Return the blocks of a language that are to be run."""
    return [one.text for one in blocks(PAGE) if one.language == language and not one.word]


@pytest.mark.integration
def test_every_shell_block_works_in_turn(server: Embedded) -> None:
    """Each line of JSON that comes back is a result, none an error."""
    printed: list[dict[str, Any]] = []
    environment = server.environment | {
        "GATEWAY_API_KEY": KEY,
        "GATEWAY_INTERNAL_BIND": f"127.0.0.1:{server.internal}",
    }
    for block in run_here("sh"):
        text = block.replace("127.0.0.1:9011", f"127.0.0.1:{server.internal}")
        text = text.replace(".venv/bin/python", shlex.quote(sys.executable))
        text = text.replace("curl -s ", "curl -sS --noproxy '*' -w '\\n' ")
        done = subprocess.run(  # noqa: S603 - our own page
            ["bash", "-euc", text],  # noqa: S607
            env=environment,
            cwd=ROOT,
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        assert (done.returncode, done.stderr) == (0, ""), done.stderr
        printed += [json.loads(line) for line in done.stdout.splitlines() if line.startswith("{")]

    assert [list(answer) for answer in printed] == [["result"]] * 4
    assert printed[0]["result"]["offset"] == 1
    assert [one["data"] for one in printed[2]["result"]["publications"]] == [
        "all",
        {"text": "the cake is ready"},
    ]


@pytest.mark.integration
def test_the_python_block_works(server: Embedded) -> None:
    """With cent as it is."""
    (block,) = run_here("python")
    block = block.replace("127.0.0.1:9011", f"127.0.0.1:{server.internal}")

    exec(block, {"api_key": KEY})  # noqa: S102 - our own page

    answer = server.probe.post(
        "/api/history",
        headers={"X-API-Key": KEY},
        json={"channel": "room:garden", "limit": 1, "reverse": True},
    )
    assert answer.json()["result"]["publications"][0]["data"] == {"text": "from cent"}


@pytest.mark.integration
def test_a_service_gets_in_with_its_token(server: Embedded) -> None:
    """As the token service issues it; and not the demo's users."""

    def status(token: str) -> int:
        bearer = {"Authorization": f"Bearer {token}"}
        return server.probe.post("/api/info", headers=bearer).status_code

    added = subprocess.run(  # noqa: S603 - our own words only
        [
            *(sys.executable, "-m", "auth_service", "clients", "add", "reports", "--secret"),
            *("--grant", "client_credentials", "--scope", "api"),
        ],
        env=server.environment
        | {
            "AUTH_ISSUER": server.url,
            "AUTH_KEYS_DIR": str(server.local / "keys"),
            "AUTH_DATABASE_URL": f"sqlite+aiosqlite:///{server.local}/auth.db",
        },
        capture_output=True,
        text=True,
        check=True,
    )
    secret = added.stdout.strip()
    server.secrets.add(secret)
    form = {"grant_type": "client_credentials", "scope": "api"}
    answer = server.http.post("/token", data=form, auth=("reports", secret))

    assert status(answer.json()["access_token"]) == httpx2.codes.OK
    assert status(server.token("alice")) == httpx2.codes.FORBIDDEN
    assert server.http.post("/api/info", headers={"X-API-Key": KEY}).status_code == 404


def test_the_page_knows_every_method() -> None:
    """And no other."""
    assert re.findall(r"^\| `(\w+)` \| .* \| .* \|$", TEXT, re.MULTILINE) == list(REQUESTS)


@pytest.mark.integration
def test_its_metrics_are_there(server: Embedded) -> None:
    """Under the names of the page."""
    said = server.probe.get("/metrics").text

    names = re.findall(r"^\| `(gateway_\w+)", TEXT, re.MULTILINE)
    assert len(names) == 5
    assert [name for name in names if f"# TYPE {name} " not in said] == []
