"""``users``."""

from __future__ import annotations

import sys

import pytest

from tests.auth_service.commands.ran import PASSWORD, Run


def test_a_user_is_added_once(run: Run) -> None:
    """The id is printed, the password is not; a second one of that name is refused in one line."""
    first = run("users", "add", "alice", "--password-stdin", typed=f"{PASSWORD}\n")
    second = run("users", "add", "Alice", "--password-stdin", typed=f"{PASSWORD}\n")

    assert first.status == 0
    assert len(first.out.split()) == 1
    assert PASSWORD not in first.out + first.err
    assert (second.status, second.err) == (1, "a user of this name exists already\n")


def test_a_generated_password_is_printed_once(run: Run) -> None:
    """At least 20 random characters."""
    _, password = run("users", "add", "alice", "--generate", "--demo").out.splitlines()

    assert len(password) >= 20


def test_programs_get_the_id_and_the_generated_password(run: Run) -> None:
    """As one document."""
    made = run("users", "add", "alice", "--generate", "--json").json

    assert made.keys() == {"id", "password"}
    assert run("users", "show", made["id"], "--id", "--json").json["name"] == "alice"


@pytest.mark.parametrize(
    ("arguments", "typed", "words"),
    [
        (["users", "add", "alice"], "", "no terminal"),
        (["users", "add", "alice", "--password-stdin"], "short\n", "at least 15"),
        (["users", "add", "alice", "--password-stdin"], "", "at least 15"),
        (["users", "add", "a\nb", "--generate"], "", "control"),
        (["users", "add", "bob", "--generate", "--scope", "api"], "", "are for clients"),
        (["users", "show", "nobody"], "", "no such user"),
        (["users", "disable", "nobody"], "", "no such user"),
        (["users", "show", "alice", "--id"], "", "no such user"),
        (["users", "set-password", "nobody", "--generate"], "", "no such user"),
    ],
)
def test_an_order_that_cannot_be_followed_is_one_line(
    run: Run, arguments: list[str], typed: str, words: str
) -> None:
    """And exit status 1."""
    ran = run(*arguments, typed=typed)

    (line,) = ran.err.splitlines()
    assert ran.status == 1
    assert words in line


def test_users_are_listed_by_name_and_in_pages(run: Run) -> None:
    """`--after` goes on where a page ended, which the notice says there is."""
    for name in ("carol", "alice", "Bob"):
        run("users", "add", name, "--generate")

    first = run("users", "list", "--limit", "2", "--json")
    rest = run("users", "list", "--after", "Bob", "--json")

    assert [user["name"] for user in first.json] == ["alice", "Bob"]
    assert "there are more" in first.err
    assert [user["name"] for user in rest.json] == ["carol"]
    assert rest.err == ""
    table = run("users", "list").out.splitlines()
    assert table[0].split() == ["name", "id", "scope", "state", "created"]
    assert len(table) == 4


@pytest.mark.parametrize("limit", ["0", "-1", "x", "100001"])
def test_a_limit_is_a_number_of_rows(run: Run, limit: str) -> None:
    """A mistake in the arguments is argparse's status 2."""
    with pytest.raises(SystemExit) as ended:
        run("users", "list", "--limit", limit)

    assert ended.value.code == 2


def test_a_user_is_disabled_and_enabled(run: Run, alice: str) -> None:
    """And the audit says that the operator did it."""
    assert run("users", "disable", "ALICE").status == 0
    assert run("users", "show", "alice", "--json").json["state"] == "disabled"
    assert run("users", "enable", alice, "--id").status == 0
    assert run("users", "show", "alice", "--json").json["state"] == "enabled"

    events = run("audit", "list", "--subject", alice, "--json").json
    assert [event["event"] for event in events][-2:] == ["user_disabled", "user_enabled"] or {
        event["event"] for event in events
    } >= {"user_disabled", "user_enabled"}
    assert {event["actor"] for event in events} == {"operator"}


@pytest.mark.usefixtures("alice")
def test_log_out_and_a_new_password_move_the_watermark(run: Run) -> None:
    """Everything that was minted before is refused."""
    assert run("users", "show", "alice", "--json").json["tokens_after"] is None

    assert run("users", "logout", "alice").status == 0
    assert run("users", "show", "alice", "--json").json["tokens_after"] is not None
    made = run("users", "set-password", "alice", "--generate")
    assert len(made.out.strip()) >= 20
    assert run("users", "set-password", "alice", "--generate", "--json").json.keys() == {"password"}
    typed = run("users", "set-password", "alice", "--password-stdin", typed="another good pass\n")
    assert (typed.status, typed.out) == (0, "")


@pytest.mark.usefixtures("alice")
def test_unlocking_tells_whether_there_was_a_reason(run: Run) -> None:
    """Either is a success."""
    ran = run("users", "unlock", "alice")

    assert (ran.status, ran.err) == (0, "there were no failed log-ins to forget\n")
    assert run("users", "unlock", "alice", "--json").json == {"unlocked": False}


@pytest.mark.usefixtures("alice")
def test_sessions_of_a_user_who_has_none_are_an_empty_list(run: Run) -> None:
    """For programs; people see the names of the columns."""
    assert run("users", "sessions", "alice", "--json").json == []
    assert run("users", "sessions", "alice").out.split()[0] == "sid"


def test_a_password_is_no_argument(run: Run) -> None:
    """It would be in everybody's list of processes."""
    with pytest.raises(SystemExit):
        run("users", "add", "alice", "--password", PASSWORD)
    assert "--password " not in sys.argv
