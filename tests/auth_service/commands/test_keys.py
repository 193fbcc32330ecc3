"""``keys``."""

from __future__ import annotations

import base64
import secrets
from pathlib import Path

import pytest

from auth_service.keys import from_pem, new_pem
from tests.auth_service.commands.ran import Run


def _states(run: Run) -> list[str]:
    return [key["state"] for key in run("keys", "list", "--json").json]


def test_a_key_is_pending_before_it_signs(run: Run) -> None:
    """And only one at a time; `--now` lets it begin."""
    assert _states(run) == ["active"]

    assert run("keys", "rotate").out.startswith("kid")
    assert _states(run) == ["active", "pending"]
    refused = run("keys", "add")
    assert (refused.status, refused.err.startswith("a key is pending already")) == (1, True)
    assert run("keys", "rotate", "--now").status == 0
    assert sorted(_states(run)) == ["active", "retired"]


def test_a_revoked_key_is_followed_by_another(run: Run) -> None:
    """At once; a second order about it is refused."""
    (before,) = run("keys", "list", "--json").json

    assert run("keys", "revoke", before["kid"]).status == 0
    after = {key["kid"]: key["state"] for key in run("keys", "list", "--json").json}
    assert after.pop(before["kid"]) == "revoked"
    assert list(after.values()) == ["active"]
    assert run("keys", "revoke", before["kid"]).status == 1
    (event,) = run("audit", "list", "--event", "key_revoked", "--json").json
    assert (event["actor"], event["subject"]) == ("operator", before["kid"])


def test_a_key_made_elsewhere_is_the_next_one(run: Run, tmp_path: Path) -> None:
    """If nobody else can read its file, and once."""
    pem = new_pem("RS256")
    file = tmp_path / "key.pem"
    file.write_bytes(pem)
    file.chmod(0o644)
    assert run("keys", "import", str(file)).status == 2
    file.chmod(0o600)

    assert run("keys", "import", str(file), "--json").json["kid"] == from_pem(pem).kid
    assert _states(run) == ["active", "pending"]
    assert run("keys", "rotate", "--now").status == 0
    assert run("keys", "import", str(file)).err == "this key is known already\n"


@pytest.mark.parametrize(
    ("content", "words"),
    [(b"no key", "no unencrypted PEM private key"), (None, "No such file")],
)
def test_a_file_without_a_key_is_refused(
    run: Run, tmp_path: Path, content: bytes | None, words: str
) -> None:
    """In one line."""
    file = tmp_path / "key.pem"
    if content is not None:
        file.write_bytes(content)
        file.chmod(0o600)

    ran = run("keys", "import", str(file))

    assert ran.status == 1
    assert words in ran.err


def test_keys_move_under_a_new_sealing_key(
    run: Run, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Then the old one is needed no more."""
    assert _states(run) == ["active"]
    old = (tmp_path / "keys" / "sealing.key").read_text().strip()
    new = base64.urlsafe_b64encode(secrets.token_bytes(32)).rstrip(b"=").decode()
    monkeypatch.setenv("AUTH_SEALING_KEYS", f"{new},{old}")

    assert run("keys", "reseal", "--json").json == {"resealed": 1}
    assert run("keys", "reseal", "--json").json == {"resealed": 0}
    monkeypatch.setenv("AUTH_SEALING_KEYS", new)
    assert _states(run) == ["active"]
    monkeypatch.setenv("AUTH_SEALING_KEYS", old)
    assert run("keys", "list").status == 2


def test_files_are_not_ordered_about(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever keeps keys as files puts others there."""
    monkeypatch.setenv("AUTH_KEYS_SOURCE", "files")

    ran = run("keys", "rotate")

    assert (ran.status, "AUTH_KEYS_SOURCE" in ran.err) == (1, True)
