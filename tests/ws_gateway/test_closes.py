"""The connections that ended last."""

from __future__ import annotations

from ws_gateway.closes import Closes


def note(closes: Closes, client: str, user: str = "alice", code: int = 3503) -> None:
    """Let a connection end."""
    closes.note(
        at=12.34567,
        client=client,
        user=user,
        address="127.0.0.1",
        code=code,
        reason="words",
        detail="",
        lasted=1.23456,
    )


def test_the_last_end_comes_first() -> None:
    """With all that was noted; times to the millisecond."""
    closes = Closes()
    note(closes, "a")
    note(closes, "b")

    last, first = closes.find()

    assert (last.client, first.client) == ("b", "a")
    assert (last.at, last.lasted, last.code, last.reason) == (12.346, 1.235, 3503, "words")


def test_they_are_found_by_user_and_by_code() -> None:
    """A guest is the user without a name, which is not everybody."""
    closes = Closes()
    note(closes, "a", user="alice", code=3000)
    note(closes, "b", user="", code=3000)
    note(closes, "c", user="alice", code=3001)

    assert [one.client for one in closes.find(user="alice")] == ["c", "a"]
    assert [one.client for one in closes.find(user="")] == ["b"]
    assert [one.client for one in closes.find(user="alice", code=3000)] == ["a"]
    assert [one.client for one in closes.find(code=3000)] == ["b", "a"]


def test_no_more_than_the_last_are_kept() -> None:
    """A storm does not fill the memory."""
    closes = Closes(kept=3)
    for number in range(10):
        note(closes, str(number))

    assert len(closes) == 3
    assert [one.client for one in closes.find()] == ["9", "8", "7"]
