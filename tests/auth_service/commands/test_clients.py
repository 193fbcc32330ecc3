"""``clients``."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from auth_service.keys import from_pem, new_pem
from tests.auth_service.commands.ran import Run


def test_a_confidential_client_gets_its_secret_once(run: Run) -> None:
    """The public one prints nothing."""
    assert run("clients", "add", "bot", "--secret", "--grant", "password").out.startswith("cs_")
    assert run("clients", "add", "app", "--grant", "password").out == ""
    made = run("clients", "add", "job", "--secret", "--grant", "client_credentials", "--json").json
    assert made.keys() == {"id", "secret"}

    for ran in (run("clients", "show", "job"), run("clients", "list", "--json")):
        assert made["secret"] not in ran.out


def test_a_client_with_everything(run: Run, tmp_path: Path) -> None:
    """Name, redirect URIs, keys."""
    file = tmp_path / "jwks.json"
    file.write_text(json.dumps({"keys": [dict(from_pem(new_pem("ES256")).public_jwk)]}))

    ran = run(
        *("clients", "add", "web", "--grant", "authorization_code", "--grant", "refresh_token"),
        *("--redirect-uri", "https://app.example/cb", "--name", "Web app", "--jwks", str(file)),
    )

    assert (ran.status, ran.out, ran.err) == (0, "", "")
    shown = run("clients", "show", "web", "--json").json
    assert shown["proof"] == "keys"
    assert shown["name"] == "Web app"
    assert shown["grants"] == ["authorization_code", "refresh_token"]
    assert shown["redirect_uris"] == ["https://app.example/cb"]


def test_clients_are_listed(run: Run) -> None:
    """By id, the default one among them."""
    run("clients", "add", "bot", "--secret", "--grant", "client_credentials")

    listed = {one["id"]: one["proof"] for one in run("clients", "list", "--json").json}

    assert listed == {"bot": "secret", "chat": "none"}
    assert run("clients", "list").out.splitlines()[1].split()[0] == "bot"


def test_a_client_is_changed(run: Run) -> None:
    """What is not named stays."""
    add = ("--grant", "authorization_code", "--redirect-uri", "https://app.example/cb")
    run("clients", "add", "web", *add)

    changed = run("clients", "change", "web", "--scope", "connect news", "--json").json
    assert changed["scope"] == "connect news"
    assert changed["redirect_uris"] == ["https://app.example/cb"]
    without = run("clients", "change", "web", "--no-redirect-uris", "--grant", "password", "--json")
    assert without.json["redirect_uris"] == []
    assert without.json["grants"] == ["password"]


def test_a_secret_is_rotated(run: Run) -> None:
    """The other one counts for a day, or not at all."""
    run("clients", "add", "bot", "--secret", "--grant", "client_credentials")

    assert run("clients", "rotate-secret", "bot").out.startswith("cs_")
    assert run("clients", "show", "bot", "--json").json["previous_secret_until"] is not None
    assert run("clients", "rotate-secret", "bot", "--overlap", "0", "--json").json["secret"]
    assert run("clients", "show", "bot", "--json").json["previous_secret_until"] is None


def test_a_client_is_disabled_enabled_and_its_tokens_are_revoked(run: Run) -> None:
    """Each by the operator."""
    run("clients", "add", "bot", "--secret", "--grant", "client_credentials")

    assert run("clients", "disable", "bot").status == 0
    assert run("clients", "show", "bot", "--json").json["state"] == "disabled"
    assert run("clients", "enable", "bot").status == 0
    assert run("clients", "revoke-tokens", "bot").status == 0

    events = run("audit", "list", "--subject", "bot", "--json").json
    assert {event["actor"] for event in events} == {"operator"}
    assert {"client_added", "client_disabled", "client_enabled"} <= {
        event["event"] for event in events
    }


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["add", "bot", "--grant", "magic"], "grant types are"),
        (["add", "bot", "--grant", "password", "--jwks", "/nowhere"], "No such file"),
        (["add", "chat", "--grant", "password"], "exists already"),
        (["add", "bot", "--grant", "authorization_code"], "go together"),
        (["show", "nobody"], "no such client"),
        (["disable", "nobody"], "no such client"),
        (["change", "nobody", "--name", "x"], "no client of this id"),
        (["rotate-secret", "chat"], "has no secret"),
    ],
)
def test_an_order_that_cannot_be_followed_is_one_line(
    run: Run, arguments: list[str], words: str
) -> None:
    """And exit status 1."""
    ran = run("clients", *arguments)

    (line,) = ran.err.splitlines()
    assert ran.status == 1
    assert words in line
