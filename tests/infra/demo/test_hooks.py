"""The demo's methods and channels: what a newcomer tries first."""

from __future__ import annotations

import datetime as dt
import json
import time
from pathlib import Path

import pytest

from infra.demo.hooks import hooks
from ws_gateway.channels import Channels
from ws_gateway.credentials import Credentials
from ws_gateway.exceptions import ReplyError
from ws_gateway.hooks import Caller
from ws_gateway.policy import check_publish, check_subscribe

CALLER = Caller(user="alice-id", client="connection", scopes=frozenset({"connect"}), info=None)
ALICE = Credentials(
    user="alice-id",
    client_id="chat",
    scopes=frozenset({"connect"}),
    expires_at=2e9,
    jti="token",
    sid="session",
    issuer="https://localhost:8443",
    info=None,
    channels=(),
)


@pytest.fixture(scope="module")
def channels() -> Channels:
    """The demo's channels file."""
    return Channels.from_toml(Path("infra/demo/channels.toml").read_text("utf-8"))


@pytest.mark.parametrize("text", [b"null", b"[1,2.5]", '{"text":"grüß dich"}'.encode()])
async def test_echo_returns_its_argument(text: bytes) -> None:
    """Whatever JSON can say."""
    assert await hooks.call(CALLER, "echo", text) == text


async def test_time_is_the_servers() -> None:
    """One moment, twice."""
    before = time.time()

    answer = json.loads(await hooks.call(CALLER, "time", b""))

    assert before - 1 <= answer["unix"] <= time.time() + 1
    assert abs(dt.datetime.fromisoformat(answer["iso"]).timestamp() - answer["unix"]) < 0.01


@pytest.mark.parametrize("name", ["lobby", "room:1", "room:a room with a view"])
def test_who_has_logged_in_meets_the_others(channels: Channels, name: str) -> None:
    """In the lobby and in any room."""
    check_subscribe(channels, ALICE, name)
    check_publish(channels, ALICE, name, subscribed=False)


@pytest.mark.parametrize(
    ("name", "code"),
    [("lobby2", 107), ("a lobby", 107), ("staff:plans", 103), ("dm:#bob-id", 103), ("no:1", 102)],
)
def test_nobody_subscribes_elsewhere(channels: Channels, name: str, code: int) -> None:
    """Personal channels are the server's to subscribe, staff's are the token's."""
    with pytest.raises(ReplyError) as caught:
        check_subscribe(channels, ALICE, name)

    assert caught.value.code == code


def test_private_messages_go_to_one_user(channels: Channels) -> None:
    """Exactly one id behind ``dm:#``."""
    check_publish(channels, ALICE, "dm:#bob-id", subscribed=False)
    for name in ("dm:#a,b", "dm:#", "dm:bob-id", "dm:x#bob-id", "staff:plans"):
        with pytest.raises(ReplyError) as caught:
            check_publish(channels, ALICE, name, subscribed=False)

        assert caught.value.code == 103


def test_everybody_has_a_personal_channel(channels: Channels) -> None:
    """Named by the ``sub`` of the token."""
    assert channels.personal_channel("alice-id") == "dm:#alice-id"
