"""What is printed, and to whom."""

from __future__ import annotations

import importlib.util
import io

import pytest
from typing_extensions import override

from infra.embedded import guide
from infra.embedded.local_directory import LocalDirectory
from infra.embedded.settings import Origin

PASSWORDS = {"alice": "alice's password", "bob": "bob's password"}


class Terminal(io.StringIO):
    """A stream that a person reads."""

    @override
    def isatty(self) -> bool:
        return True


def shown(stream: io.StringIO) -> str:
    """Return what is written to a stream."""
    guide.show(stream, origin=Origin(8443), local=LocalDirectory(".local"), passwords=PASSWORDS)
    return stream.getvalue()


def test_a_terminal_shows_the_passwords() -> None:
    """Whoever sits there made them."""
    text = shown(Terminal())

    for name, password in PASSWORDS.items():
        assert f"  {name:<8}{password}\n" in text


def test_a_file_shows_where_the_passwords_are() -> None:
    """Output ends up in logs."""
    text = shown(io.StringIO())

    assert "password in" not in text
    assert ".local/demo-users.txt" in text
    for password in PASSWORDS.values():
        assert password not in text


@pytest.mark.parametrize("installed", [True, False])
def test_the_sdk_is_installed_first_if_it_is_missing(
    monkeypatch: pytest.MonkeyPatch, installed: bool
) -> None:
    """The environment of ``make run`` holds what the servers need, no client."""
    found = importlib.util.find_spec("json") if installed else None
    monkeypatch.setattr(importlib.util, "find_spec", lambda _: found)

    assert ("pip install -q" in shown(io.StringIO())) is not installed


def test_the_addresses_are_the_fronts() -> None:
    """Of the port that it really has."""
    stream = io.StringIO()
    guide.show(stream, origin=Origin(9), local=LocalDirectory("x"), passwords=PASSWORDS)

    assert "open at https://localhost:9\n" in stream.getvalue()
    assert "https://localhost:9/token" in stream.getvalue()
    assert "wss://localhost:9/connection/websocket" in stream.getvalue()
    assert 'cafile="x/ca.pem"' in stream.getvalue()
