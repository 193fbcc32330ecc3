"""Two issuers at one gateway: the same ``sub`` is two users."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.integration.embedded import Embedded, ask, free_ports, tell

pytestmark = pytest.mark.integration

SAME = "the-same-sub"


@pytest.fixture
def other(tmp_path: Path) -> Iterator[Embedded]:
    """The other issuer, with keys of its own."""
    directory = tmp_path / "other"
    directory.mkdir()
    server = Embedded(directory).start()
    yield server
    server.stop()


@pytest.fixture
def gateway(tmp_path: Path, other: Embedded) -> Iterator[Embedded]:
    """A gateway that trusts its own issuer and the other one."""
    ports = free_ports(4)
    issuers = [
        {
            "issuer": f"https://localhost:{front}",
            "jwks_url": f"http://127.0.0.1:{auth}/.well-known/jwks.json",
            "audience": "drawbridge",
            "user_prefix": prefix,
        }
        for prefix, front, auth in (
            ("own", ports[0], ports[1]),
            ("other", other.ports[0], other.ports[1]),
        )
    ]
    directory = tmp_path / "own"
    directory.mkdir()
    settings = {"GATEWAY_ISSUERS": json.dumps(issuers)}
    server = Embedded(directory, settings, ports=ports).start()
    yield server
    server.stop()


async def test_the_same_sub_of_two_issuers_is_two_users(gateway: Embedded, other: Embedded) -> None:
    """What one publishes carries his issuer's prefix, and so is not the other's."""
    seen = []
    async with gateway.bare(gateway.sign(sub=SAME)) as reader:
        await ask(reader, id=1, subscribe={"channel": "lobby"})
        for issuer in (gateway, other):
            async with gateway.bare(issuer.sign(sub=SAME)) as writer:
                await ask(writer, id=1, publish={"channel": "lobby", "data": "hello"})
            push = await tell(reader)
            seen.append(push["push"]["pub"]["info"]["user"])

    assert seen == [f"own.{SAME}", f"other.{SAME}"]


async def test_a_key_of_one_issuer_signs_for_no_other(gateway: Embedded, other: Embedded) -> None:
    """A token that names the gateway's own issuer, signed by the other one."""
    token = other.sign(sub=SAME, iss=gateway.url)

    answer = gateway.http.get(
        "/connection/websocket",
        headers={
            "Authorization": f"Bearer {token}",
            "Connection": "Upgrade",
            "Upgrade": "websocket",
            "Sec-WebSocket-Version": "13",
            "Sec-WebSocket-Key": "AAAAAAAAAAAAAAAAAAAAAA==",
        },
    )

    assert answer.status_code == 401
