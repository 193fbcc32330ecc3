"""The official JavaScript SDK, from Node and in Debian's Chromium."""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
from typing import Any

import pytest

from infra.stack.exceptions import StackError
from tests.integration.browser import chromium
from tests.integration.embedded import Embedded
from tests.integration.sdk_javascript import BUNDLE, FOLDER, install

pytestmark = pytest.mark.integration

MESSAGES = 100
CONVERSATION = FOLDER / "conversation.mjs"
NOT_CONNECTED = {"code": 1404, "message": "not connected"}
# What the SDK itself calls a disconnect by its user.
LEFT = 0


@pytest.fixture(scope="session")
def node() -> str:
    """Node, with the SDK installed as locked; their absence is a failure."""
    try:
        return install()
    except StackError as error:
        pytest.fail(str(error))


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


@pytest.mark.parametrize(
    ("alice", "bob"), [("json", "json"), ("json", "protobuf"), ("protobuf", "json")]
)
async def test_two_people_talk_from_node(node: str, server: Embedded, alice: str, bob: str) -> None:
    """With the WebSocket of the package ``ws``, and the certificate checked; in both encodings."""
    told = introduce(server) | {"encodings": {"alice": alice, "bob": bob}}

    done = await asyncio.to_thread(
        subprocess.run,
        [node, str(CONVERSATION)],
        input=json.dumps(told),
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
