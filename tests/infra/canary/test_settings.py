"""What is refused before anything is tried, and in which words."""

from __future__ import annotations

from dataclasses import fields
from pathlib import Path

import pytest

from infra.canary.settings import PREFIX, SECRETS, ConfigurationError, Settings

PAGE = Path(__file__).parents[3] / "docs/canary.md"
LEAST = {"CANARY_URL": "https://drawbridge.example", "CANARY_PASSWORD": "hush"}


def test_an_address_and_a_password_are_enough() -> None:
    """The rest is as in the cluster."""
    settings = Settings.from_environment({**LEAST, "PATH": "/bin", "CANARY_CHANNEL": ""})

    assert settings.websocket_url == "wss://drawbridge.example/connection/websocket"
    assert (settings.user, settings.client_id) == ("canary", "canary")
    assert settings.channel == "canary:#{sub}"
    assert "hush" not in repr(settings)


def test_everything_can_be_chosen(tmp_path: Path) -> None:
    """Each by its variable."""
    authority = tmp_path / "ca.pem"
    authority.touch()
    settings = Settings.from_environment(
        {
            "CANARY_URL": "http://[::1]:8000/",
            "CANARY_USER": "bird",
            "CANARY_PASSWORD": "hush",
            "CANARY_CLIENT_ID": "",
            "CANARY_CHANNEL": "room:canary",
            "CANARY_INTERVAL_SECONDS": "0.5",
            "CANARY_DEADLINE_SECONDS": "2",
            "CANARY_BIND": "[::1]:9000",
            "CANARY_CA_FILE": str(authority),
        }
    )

    assert settings == Settings(
        url="http://[::1]:8000",
        user="bird",
        password="hush",
        client_id="",
        channel="room:canary",
        interval_seconds=0.5,
        deadline_seconds=2,
        bind=("::1", 9000),
        ca_file=authority,
    )
    assert settings.websocket_url == "ws://[::1]:8000/connection/websocket"


def test_the_password_is_read_from_a_file(tmp_path: Path) -> None:
    """Without the line's end that editors write."""
    secret = tmp_path / "password"
    secret.write_text("hush \n")
    environment = {"CANARY_URL": LEAST["CANARY_URL"], "CANARY_PASSWORD_FILE": str(secret)}

    assert Settings.from_environment(environment).password == "hush "


@pytest.mark.parametrize(
    ("variable", "value"),
    [
        ("CANARY_URL", ""),
        ("CANARY_URL", "drawbridge.example"),
        ("CANARY_URL", "http://drawbridge.example"),
        ("CANARY_URL", "http://localhost.example"),
        ("CANARY_URL", "wss://drawbridge.example"),
        ("CANARY_URL", "https://drawbridge.example/token"),
        ("CANARY_URL", "https://me:hush@drawbridge.example"),
        ("CANARY_URL", "https://drawbridge.example?x=1"),
        ("CANARY_URL", "https://drawbridge.example:http"),
        ("CANARY_URL", "https://[::1"),
        ("CANARY_PASSWORD", ""),
        ("CANARY_PASSWORD_FILE", "/somewhere"),
        ("CANARY_INTERVAL_SECONDS", "0"),
        ("CANARY_INTERVAL_SECONDS", "often"),
        ("CANARY_DEADLINE_SECONDS", "nan"),
        ("CANARY_DEADLINE_SECONDS", "3601"),
        ("CANARY_BIND", "9000"),
        ("CANARY_BIND", "127.0.0.1:"),
        ("CANARY_BIND", "127.0.0.1:65536"),
        ("CANARY_CA_FILE", "/nowhere/ca.pem"),
        ("CANARY_INTERVAL", "5"),
    ],
)
def test_what_is_wrong_is_named_in_one_line(variable: str, value: str) -> None:
    """By its variable, and without what was given: it may be a password in the wrong place."""
    with pytest.raises(ConfigurationError) as refused:
        Settings.from_environment({**LEAST, variable: value})

    (line,) = str(refused.value).splitlines()
    assert line.startswith(f"{variable}: ")
    assert "hush" not in line


@pytest.mark.parametrize("content", [None, b"", b"\n", b"\xff\xfe", b"x" * 5000])
def test_a_file_without_a_password_is_refused(content: bytes | None, tmp_path: Path) -> None:
    """Missing, empty, no text, or something else altogether."""
    secret = tmp_path / "password"
    if content is not None:
        secret.write_bytes(content)
    environment = {"CANARY_URL": LEAST["CANARY_URL"], "CANARY_PASSWORD_FILE": str(secret)}

    with pytest.raises(ConfigurationError, match=r"^CANARY_PASSWORD_FILE: "):
        Settings.from_environment(environment)


def test_the_page_has_every_variable() -> None:
    """And no other one."""
    text = PAGE.read_text("utf-8")
    rows = [line.split("`")[1] for line in text.splitlines() if line.startswith(f"| `{PREFIX}")]

    assert rows == [f"{PREFIX}{item.name.upper()}" for item in fields(Settings)]
    for name in SECRETS:
        assert f"`{PREFIX}{name.upper()}_FILE`" in text
