"""``sessions``, with one that began by a log-in."""

from __future__ import annotations

import asyncio
import os

import pytest

from auth_service.app import open_service
from auth_service.caller import Caller
from auth_service.issued import Issued
from auth_service.settings import Settings
from tests.auth_service.commands.ran import PASSWORD, Run


def log_in() -> Issued:
    """Open a session for alice, as the password grant does."""

    async def exchange() -> Issued:
        async with open_service(Settings.from_environment(os.environ)) as service:
            client = await service.registration.find("chat")
            assert client is not None
            return await service.grants["password"].exchange(
                client=client,
                form={"username": "alice", "password": PASSWORD},
                caller=Caller(address="192.0.2.7", user_agent="curl"),
            )

    return asyncio.run(exchange())


@pytest.mark.usefixtures("alice")
def test_a_session_is_listed_and_ended(run: Run) -> None:
    """Afterwards its token is worth nothing."""
    token = log_in().access_token
    (session,) = run("sessions", "list", "--user", "alice", "--json").json
    assert session["address"] == "192.0.2.7"
    assert session["user_agent"] == "curl"
    assert run("tokens", "introspect", "--json", typed=token).json["sid"] == session["sid"]

    assert run("sessions", "end", session["sid"]).status == 0

    assert run("users", "sessions", "alice", "--json").json == []
    assert run("tokens", "introspect", "--json", typed=token).json == {"active": False}
    again = run("sessions", "end", session["sid"])
    assert (again.status, "has ended" in again.err) == (1, True)


def test_sessions_of_nobody(run: Run, alice: str) -> None:
    """A name and an id are told apart by the option, never guessed."""
    assert run("sessions", "list", "--user", alice).status == 1
    assert run("sessions", "list", "--user", alice, "--id").status == 0
