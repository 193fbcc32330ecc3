"""Which tokens are denied, by what, and for how long."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, strategies as st

from ws_gateway.credentials import Credentials
from ws_gateway.revocations.deny_set import MARGIN_SECONDS, DenySet, Kind, Revocation, parse

NOW = 1_900_000_000
ISSUED = NOW - 100


def credentials(**changes: Any) -> Credentials:  # noqa: ANN401
    """Return what a token says that has nothing to do with any revocation of these tests."""
    said: dict[str, Any] = {
        "user": "a.alice",
        "subject": "alice",
        "client_id": "chat",
        "scopes": frozenset({"connect"}),
        "expires_at": NOW + 500.0,
        "issued_at": ISSUED,
        "jti": "token-1",
        "sid": "session-1",
        "kid": "key-1",
        "issuer": "https://a.example",
    }
    return Credentials(**(said | changes))


def revocation(kind: Kind, value: str, *, before: int = 0, until: int = NOW + 600) -> Revocation:
    """Return an entry."""
    return Revocation(kind=kind, value=value, before=before, until=until)


class TestFind:
    """Security 3.6 and J24: each kind denies what it names and nothing else."""

    @pytest.mark.parametrize(
        ("kind", "value"),
        [
            (Kind.JTI, "token-1"),
            (Kind.SID, "session-1"),
            (Kind.SUBJECT, "alice"),
            (Kind.CLIENT, "chat"),
            (Kind.KID, "key-1"),
        ],
    )
    def test_token_is_denied_by_every_kind(self, kind: Kind, value: str) -> None:
        """And one that differs in just this is not."""
        denied = DenySet()

        assert denied.add(revocation(kind, value, before=ISSUED), NOW)

        assert denied.find(credentials()) is kind
        other = {
            Kind.JTI: {"jti": "token-2"},
            Kind.SID: {"sid": "session-2"},
            Kind.SUBJECT: {"subject": "bob"},
            Kind.CLIENT: {"client_id": "cli"},
            Kind.KID: {"kid": "key-2"},
        }[kind]
        assert denied.find(credentials(**other)) is None

    def test_values_of_one_kind_are_no_values_of_another(self) -> None:
        """A session that is called like a user is not the user."""
        denied = DenySet()
        denied.add(revocation(Kind.SID, "alice"), NOW)
        denied.add(revocation(Kind.JTI, "session-1"), NOW)

        assert denied.find(credentials()) is None

    @pytest.mark.parametrize("kind", [Kind.SUBJECT, Kind.CLIENT])
    def test_tokens_issued_after_the_watermark_are_good(self, kind: Kind) -> None:
        """The contract's rule of the same second: ``iat <= before`` is denied."""
        denied = DenySet()
        denied.add(revocation(kind, "alice" if kind is Kind.SUBJECT else "chat", before=NOW), NOW)

        assert denied.find(credentials(issued_at=NOW)) is kind
        assert denied.find(credentials(issued_at=NOW + 1)) is None

    def test_end_of_the_session_counts_more_than_that_of_the_token(self) -> None:
        """The client must not come back with another token of it."""
        denied = DenySet()
        denied.add(revocation(Kind.JTI, "token-1"), NOW)
        denied.add(revocation(Kind.SID, "session-1"), NOW)

        assert denied.find(credentials()) is Kind.SID

    def test_issuer_without_sessions_is_not_denied_by_one(self) -> None:
        """An absent sid is the empty text, which no entry can have."""
        denied = DenySet()
        denied.add(revocation(Kind.SID, "s"), NOW)

        assert denied.find(credentials(sid="")) is None

    def test_only_token_and_key_can_be_replaced(self) -> None:
        """These two end with 3005, the others with 3500."""
        assert {kind for kind in Kind if kind.renewable} == {Kind.JTI, Kind.KID}


class TestAdd:
    """What was known before is not news."""

    def test_second_time_is_not_new(self) -> None:
        """The log is read again after every doubt."""
        denied = DenySet()
        entry = revocation(Kind.SID, "session-1")

        assert [denied.add(entry, NOW) for _ in range(3)] == [True, False, False]
        assert len(denied) == len(denied._ends) == 1

    def test_later_watermark_is_new_and_an_earlier_one_takes_nothing_back(self) -> None:
        """Two log-outs everywhere."""
        denied = DenySet()
        entries = [revocation(Kind.SUBJECT, "alice", before=before) for before in (5, 7, 6)]

        assert [denied.add(entry, NOW) for entry in entries] == [True, True, False]
        assert denied.find(credentials(issued_at=7)) is Kind.SUBJECT
        assert denied.find(credentials(issued_at=8)) is None

    def test_what_has_ended_is_not_taken(self) -> None:
        """An issuer may be slow to remove it."""
        denied = DenySet()

        assert not denied.add(revocation(Kind.SID, "s", until=NOW - MARGIN_SECONDS), NOW)
        assert len(denied) == 0


class TestExpire:
    """Bounded by the life of tokens."""

    def test_rule_lives_a_margin_longer_than_the_token_says(self) -> None:
        """A token is accepted for some seconds of leeway after its ``exp``."""
        denied = DenySet()
        denied.add(revocation(Kind.JTI, "token-1", until=NOW), NOW)

        denied.expire(NOW + MARGIN_SECONDS - 1)
        assert denied.find(credentials()) is Kind.JTI
        denied.expire(NOW + MARGIN_SECONDS)
        assert denied.find(credentials()) is None
        assert not denied._ends

    def test_prolonged_rule_stays(self) -> None:
        """Its first end is not its end."""
        denied = DenySet()
        denied.add(revocation(Kind.JTI, "token-1", until=NOW), NOW)
        denied.add(revocation(Kind.JTI, "token-1", until=NOW + 100), NOW)

        denied.expire(NOW + MARGIN_SECONDS)
        assert len(denied) == 1
        denied.expire(NOW + MARGIN_SECONDS + 100)
        assert len(denied) == 0

    @given(
        st.lists(
            st.tuples(
                st.sampled_from(Kind), st.sampled_from("abc"), st.integers(0, 9), st.integers(1, 50)
            )
        )
    )
    def test_nothing_is_left_in_the_end(self, rules: list[tuple[Kind, str, int, int]]) -> None:
        """Whatever was added, in whatever order."""
        denied = DenySet()
        for kind, value, before, until in rules:
            denied.add(revocation(kind, value, before=before, until=until), 0)
        assert len(denied) == len({(kind, value) for kind, value, _, _ in rules})

        denied.expire(50 + MARGIN_SECONDS)

        assert len(denied) == 0
        assert not denied._ends


class TestParse:
    """An entry, or none; never an error."""

    GOOD: dict[str, object] = {"kind": "sid", "value": "s", "before": 0, "until": NOW}  # noqa: RUF012

    def test_entry_of_texts_and_of_numbers(self) -> None:
        """Redis has only texts, JSON has both."""
        texts = {"kind": "sub", "value": "alice", "sub": "", "before": "7", "until": str(NOW)}

        assert parse(texts, texts=True) == revocation(Kind.SUBJECT, "alice", before=7, until=NOW)
        assert parse(texts) is None
        assert parse(self.GOOD | {"sub": "alice", "reason": "logout", "seq": 3, "new": []}) == (
            Revocation(kind=Kind.SID, value="s", before=0, until=NOW, sub="alice")
        )

    @pytest.mark.parametrize(
        "change",
        [
            {"kind": "log"},
            {"kind": ""},
            {"kind": None},
            {"value": ""},
            {"value": 7},
            {"value": "x" * 1025},
            {"before": -1},
            {"before": True},
            {"before": 1.5},
            {"until": 2**53},
            {"until": 10**400},
            {"until": "soon"},
            {"sub": None},
        ],
    )
    def test_garbage_is_none(self, change: dict[str, object]) -> None:
        """It is passed over; the rest of the log counts."""
        assert parse(self.GOOD | change) is None

    @pytest.mark.parametrize("missing", ["kind", "value", "before", "until"])
    def test_incomplete_is_none(self, missing: str) -> None:
        """Nothing is guessed: without its time a watermark would deny nobody, or everybody."""
        assert parse({k: v for k, v in self.GOOD.items() if k != missing}) is None

    @given(
        st.dictionaries(
            st.sampled_from(["kind", "value", "before", "until", "sub"]),
            st.one_of(st.none(), st.booleans(), st.integers(), st.floats(), st.text()),
        ),
        st.booleans(),
    )
    def test_anything_is_an_entry_or_none(self, fields: dict[str, object], texts: bool) -> None:
        """No input raises, and what comes out keeps its bounds."""
        found = parse(fields, texts=texts)

        assert found is None or (found.value and found.before >= 0 and found.until >= 0)

    def test_subject_is_whom_it_can_concern(self) -> None:
        """Empty where it can be anybody."""
        found = [
            Revocation(kind=kind, value="v", before=0, until=NOW, sub=sub).subject
            for kind, sub in [
                (Kind.SUBJECT, ""),
                (Kind.SID, "alice"),
                (Kind.JTI, ""),
                (Kind.KID, ""),
            ]
        ]

        assert found == ["v", "alice", "", ""]
