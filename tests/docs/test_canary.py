"""What docs/canary.md has one make before the first start is enough for the canary's defaults."""

from __future__ import annotations

import re
import shlex
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.docs.blocks import ROOT, blocks
from tests.infra.canary.running import Canary
from tests.integration.embedded import START_SECONDS, Embedded

PAGE = ROOT / "docs/canary.md"
PASSWORD = "the one that make secrets draws"


def orders() -> list[list[str]]:
    """Return what the page has the operator say to the token service in a cluster."""
    (text,) = (
        block.text for block in blocks(PAGE) if block.language == "sh" and "kubectl" in block.text
    )
    return [shlex.split(line) for line in re.findall(r"-m auth_service (.*)$", text, re.MULTILINE)]


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Embedded]:
    """Services with the page's channels, to which the page's orders were given."""
    (namespace,) = (block.text for block in blocks(PAGE) if block.language == "toml")
    channels = tmp_path / "channels.toml"
    channels.write_text(namespace)
    running = Embedded(tmp_path, {"GATEWAY_CHANNELS_FILE": str(channels)}).start()
    own = {
        "AUTH_ISSUER": running.url,
        "AUTH_DATABASE_URL": f"sqlite+aiosqlite:///{running.local}/auth.db",
        "AUTH_KEYS_DIR": f"{running.local}/keys",
    }
    try:
        for order in orders():
            subprocess.run(  # noqa: S603 - our own page's words
                [sys.executable, "-m", "auth_service", *order],
                env=running.environment | own,
                input=PASSWORD,
                text=True,
                check=True,
                timeout=START_SECONDS,
            )
        yield running
    finally:
        running.stop()


@pytest.mark.integration
async def test_a_user_a_client_and_a_channel_are_all_it_needs(server: Embedded) -> None:
    """Its name, its client and its channel are those that it has unless told."""
    assert [order[:3] for order in orders()] == [
        ["users", "add", "canary"],
        ["clients", "add", "canary"],
    ]

    async with Canary(server, password=PASSWORD).running() as canary:
        await canary.until(lambda: canary.count("receive") >= 2)

        assert canary.value("missed_publications_total") == 0
