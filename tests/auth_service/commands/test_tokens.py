"""``tokens``."""

from __future__ import annotations

import pytest

from tests.auth_service.commands.ran import Run
from tests.auth_service.commands.test_sessions import log_in


@pytest.mark.usefixtures("alice")
def test_a_token_is_inspected(run: Run) -> None:
    """People see moments, programs numbers; a spoilt one is shown with the reason."""
    token = log_in().access_token

    shown = run("tokens", "inspect", "--json", typed=token).json
    assert shown["typ"] == "at+jwt"
    assert shown["verdict"] == "good"
    assert shown["exp"] - shown["iat"] == 600
    assert "Z\n" in run("tokens", "inspect", typed=token).out
    head, _, signature = token.rpartition(".")
    spoilt = f"{head}.{'B' if signature[0] == 'A' else 'A'}{signature[1:]}"
    assert run("tokens", "inspect", "--json", typed=spoilt).json["verdict"] != "good"
    assert run("tokens", "inspect", typed="rubbish").status == 1


@pytest.mark.usefixtures("alice")
def test_an_access_token_is_revoked_alone(run: Run) -> None:
    """Its session goes on."""
    issued = log_in()

    assert run("tokens", "revoke", typed=issued.access_token).status == 0

    assert run("tokens", "introspect", "--json", typed=issued.access_token).json == {
        "active": False
    }
    assert run("tokens", "introspect", "--json", typed=issued.refresh_token or "").json["active"]
    (event,) = run("audit", "list", "--event", "token_revoked", "--json").json
    assert event["actor"] == "operator"


@pytest.mark.usefixtures("alice")
def test_a_refresh_token_takes_its_session_with_it(run: Run) -> None:
    """A second time there is nothing left to revoke."""
    issued = log_in()

    assert run("tokens", "revoke", typed=issued.refresh_token or "").status == 0

    assert not run("tokens", "introspect", "--json", typed=issued.access_token).json["active"]
    assert run("tokens", "revoke", typed=issued.refresh_token or "").status == 1


def test_what_is_no_token_is_refused(run: Run) -> None:
    """In one line that does not repeat it."""
    ran = run("tokens", "revoke", typed="a-secret")

    assert (ran.status, ran.err) == (1, "this is no token of ours that is still good\n")
    assert run("tokens", "revoke").status == 1
