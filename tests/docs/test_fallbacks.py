"""The blocks of docs/fallbacks.md do what the page says."""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
from collections.abc import Iterator
from typing import Any

import httpx2
import pytest

from infra.stack.exceptions import StackError
from tests.docs.blocks import ROOT, blocks
from tests.integration.embedded import Embedded
from tests.integration.sdk_javascript import FOLDER, install
from ws_gateway.codes import DisconnectCode

pytestmark = pytest.mark.integration

JS, PYTHON, END = blocks(ROOT / "docs" / "fallbacks.md")
# Node has no EventSource, and is given no WebSocket: what is left is tried.
PROGRAM = """
import {{ Centrifuge }} from "centrifuge";
globalThis.WebSocket = undefined;
const token = {token};
{block}
client.on("connected", ({{ transport }}) => {{ console.log(transport); client.disconnect(); }});
client.connect();
"""


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Embedded]:
    """`make run` with the page's settings."""
    settings = {"GATEWAY_HTTP_STREAM": "1", "GATEWAY_SSE": "1"}
    started = Embedded(tmp_path_factory.mktemp("fallbacks"), settings).start()
    yield started
    started.stop()


def test_the_sdk_finds_a_way(server: Embedded) -> None:
    """Where there are no WebSockets, by the next transport of its list."""
    try:
        node = install()
    except StackError as error:
        pytest.fail(str(error))
    block = JS.text.replace("localhost:8443", f"localhost:{server.front}")
    program = PROGRAM.format(token=json.dumps(server.token()), block=block)

    done = subprocess.run(  # noqa: S603 - our own page
        [node, "--input-type=module", "--eval", program],
        cwd=FOLDER,
        env={**os.environ, "NODE_EXTRA_CA_CERTS": str(server.local / "ca.pem")},
        check=False,
        capture_output=True,
        text=True,
        timeout=60,
    )

    assert (done.returncode, done.stdout, done.stderr) == (0, "http_stream\n", "")


def test_it_can_be_done_by_hand(server: Embedded) -> None:
    """A response that is read on, and requests beside it."""
    module: dict[str, Any] = {}
    exec(PYTHON.text, module)  # noqa: S102 - our own page

    async def talk() -> list[dict[str, Any]]:
        async with httpx2.AsyncClient(
            base_url=server.url, verify=server.context, trust_env=False, timeout=30
        ) as http:
            heard: list[dict[str, Any]] = await module["talk"](http, server.token())
            return heard

    connected, subscribed = asyncio.run(talk())

    assert connected["connect"]["session"]
    assert subscribed["id"] == 2
    assert "subscribe" in subscribed


def test_the_end_is_one_of_our_codes() -> None:
    """As it is shown."""
    end = json.loads(END.text)["push"]["disconnect"]

    assert end == {"code": int(DisconnectCode.SHUTDOWN), "reason": DisconnectCode.SHUTDOWN.reason}
