"""The official JavaScript SDK, from Node and in Debian's Chromium."""

from __future__ import annotations

import asyncio
import json
import os
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest

from infra.stack import programs
from infra.stack.exceptions import StackError
from tests.integration.browser import chromium
from tests.integration.embedded import Embedded

pytestmark = pytest.mark.integration

MESSAGES = 100
FOLDER = Path(__file__).parents[1] / "sdk" / "javascript"
LOCK = FOLDER / "package-lock.json"
CONVERSATION = FOLDER / "conversation.mjs"
MODULES = FOLDER / "node_modules"
BUNDLE = MODULES / "centrifuge" / "dist" / "centrifuge.js"
# What is installed is known by the lock it was installed from.
STAMP = MODULES / ".installed-from"
INSTALL = ("ci", "--omit=dev", "--ignore-scripts", "--no-audit", "--no-fund")
NOT_CONNECTED = {"code": 1404, "message": "not connected"}
# What the SDK itself calls a disconnect by its user.
LEFT = 0


@pytest.fixture(scope="session")
def node() -> str:
    """Node, with the SDK installed as locked; their absence is a failure."""
    try:
        node, npm = programs.find("node"), programs.find("npm")
    except StackError as error:
        pytest.fail(str(error))
    if not STAMP.exists() or STAMP.read_bytes() != LOCK.read_bytes():
        done = subprocess.run(  # noqa: S603 - our own lock, no scripts
            [npm, *INSTALL], cwd=FOLDER, check=False, capture_output=True, text=True, timeout=100
        )
        assert done.returncode == 0, done.stdout + done.stderr
        shutil.copyfile(LOCK, STAMP)
    return node


def introduce(server: Embedded) -> dict[str, Any]:
    """Return what the two have to know."""
    return {
        "url": server.websocket_url,
        "tokens": {name: server.token(name) for name in ("alice", "bob")},
        "bob": server.subject("bob"),
        "messages": MESSAGES,
    }


def check(told: dict[str, Any], server: Embedded) -> None:
    """See that everything arrived: once, in order, and from whom it came."""
    subjects = {name: server.subject(name) for name in ("alice", "bob")}
    for person in (told["alice"], told["bob"]):
        assert person["errors"] == []
        assert person["transport"] == "websocket"
        assert person["farewell"] == LEFT
        assert len(person["seen"]) == 2 * MESSAGES
        for name, subject in subjects.items():
            spoken = [seen["number"] for seen in person["seen"] if seen["user"] == subject]
            assert spoken == list(range(MESSAGES))
            assert {seen["name"] for seen in person["seen"] if seen["user"] == subject} == {name}
    assert told["alice"]["seen"] == told["bob"]["seen"]
    assert told["alice"]["inbox"] == []
    assert told["bob"]["inbox"] == [
        {
            "channel": f"dm:#{subjects['bob']}",
            "data": {"text": "psst"},
            "user": subjects["alice"],
            "name": "alice",
        }
    ]
    assert told["refusal"] == NOT_CONNECTED
    assert told["echo"] == {"text": "hello"}


async def test_two_people_talk_from_node(node: str, server: Embedded) -> None:
    """With the WebSocket of the package ``ws``, and the certificate checked."""
    done = await asyncio.to_thread(
        subprocess.run,
        [node, str(CONVERSATION)],
        input=json.dumps(introduce(server)),
        env={**os.environ, "NODE_EXTRA_CA_CERTS": str(server.local / "ca.pem")},
        check=False,
        capture_output=True,
        text=True,
        timeout=60,
    )

    assert (done.returncode, done.stderr) == (0, "")
    check(json.loads(done.stdout), server)


@pytest.mark.usefixtures("node")
async def test_two_people_talk_from_a_browser(server: Embedded) -> None:
    """With the bundle for browsers and their own WebSocket, on a page of the server's origin."""
    try:
        async with chromium() as browser:
            context = await browser.new_context(ignore_https_errors=True, bypass_csp=True)
            page = await context.new_page()
            # Nobody has logged in here, so that the token alone says who one is.
            await page.goto(f"{server.url}/login")
            await page.add_script_tag(path=BUNDLE)
            await page.add_script_tag(path=CONVERSATION, type="module")
            await page.wait_for_function("() => globalThis.converse !== undefined")

            told = await page.evaluate("(input) => converse(Centrifuge, input)", introduce(server))
    except FileNotFoundError as error:
        pytest.fail(str(error))

    check(told, server)
