"""Revoked connections are closed in batches, and no others."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from ws_gateway.codes import DisconnectCode
from ws_gateway.credentials import Credentials
from ws_gateway.eviction import CLOSES_PER_TURN, LOOKS_PER_TURN, Eviction
from ws_gateway.revocations.deny_set import Kind
from ws_gateway.users import UserIndex


class Visitor:
    """A connection that notes its end."""

    def __init__(self, house: House, number: str, credentials: Credentials | None) -> None:
        self.house = house
        self.number = number
        self.credentials = credentials
        self.closed = False
        self.ends: list[tuple[int, str]] = []
        self.fault: Exception | None = None

    def disconnect(self, code: DisconnectCode, detail: str = "") -> None:
        """See Evictable."""
        self.ends.append((int(code), detail))
        self.house.closes[-1] += 1
        if self.fault is not None:
            raise self.fault
        self.closed = True
        self.house.leave(self)


class House:
    """Connections, and an event loop that turns when it is told to."""

    def __init__(self) -> None:
        self.everyone: dict[str, Visitor] = {}
        self.users: UserIndex[Visitor] = UserIndex()
        self.denied: dict[str, Kind] = {}
        self.looks = [0]
        self.closes = [0]
        self.ready: list[Callable[[], object]] = []
        self.eviction = Eviction(
            everyone=self.everyone,
            of_user=self.users.connections,
            revoked=self.revoked,
            call_soon=self.ready.append,
        )

    def revoked(self, credentials: Credentials) -> Kind | None:
        """Say by what the token is denied: its jti or its user."""
        self.looks[-1] += 1
        return self.denied.get(credentials.jti) or self.denied.get(credentials.user)

    def enter(self, user: str | None) -> Visitor:
        """Let one in."""
        number = str(len(self.everyone))
        who = None
        if user is not None:
            who = Credentials(user, "chat", frozenset(), 0, f"t{number}", "", "https://a.example")
        visitor = Visitor(self, number, who)
        self.everyone[number] = visitor
        if user is not None:
            self.users.add(user, visitor)
        return visitor

    def leave(self, visitor: Visitor) -> None:
        """Forget one."""
        del self.everyone[visitor.number]
        if visitor.credentials is not None:
            self.users.remove(visitor.credentials.user, visitor)

    def turn(self) -> bool:
        """Turn the loop once; False if there was nothing to do."""
        ready, self.ready[:] = list(self.ready), []
        self.looks.append(0)
        self.closes.append(0)
        for callback in ready:
            callback()
        return bool(ready)

    def run(self) -> None:
        """Turn until nothing is to be done."""
        while self.turn():
            pass


@pytest.fixture
def house() -> House:
    """An empty house."""
    return House()


class TestWhom:
    """Only what is denied, with the code of its kind."""

    @pytest.mark.parametrize(
        ("kind", "code"),
        [
            (Kind.JTI, 3005),
            (Kind.KID, 3005),
            (Kind.SID, 3500),
            (Kind.SUBJECT, 3500),
            (Kind.CLIENT, 3500),
        ],
    )
    def test_code_says_whether_to_come_back(self, house: House, kind: Kind, code: int) -> None:
        """The contract: a fresh token helps after 3005."""
        alice, bob = house.enter("alice"), house.enter("bob")
        house.denied["alice"] = kind

        house.eviction.look_at(["alice"])
        house.run()

        assert alice.ends == [(code, "revoked")]
        assert bob.ends == []
        assert house.eviction.closed == 1

    def test_only_the_users_named_are_looked_at(self, house: House) -> None:
        """An entry finds its connections without a search."""
        for number in range(50):
            house.enter(f"u{number}")
        house.denied["u7"] = Kind.SID

        house.eviction.look_at(["u7", "nobody"])
        house.run()

        assert sum(house.looks) == 1
        assert house.eviction.closed == 1

    def test_all_are_looked_at_where_nobody_is_named(self, house: House) -> None:
        """Also who has several; who has not said whose it is has nothing to be revoked."""
        visitors = [house.enter(user) for user in ("alice", "bob", "alice", None)]
        house.denied |= {"t0": Kind.KID, "bob": Kind.CLIENT}

        house.eviction.look_at(None)
        house.run()

        assert [visitor.ends for visitor in visitors] == [
            [(3005, "revoked")],
            [(3500, "revoked")],
            [],
            [],
        ]

    def test_connection_that_has_ended_is_not_counted(self, house: House) -> None:
        """It went while it waited."""
        visitors = [house.enter("alice") for _ in range(2)]
        house.denied["alice"] = Kind.SID
        house.eviction.look_at(["alice"])

        visitors[0].closed = True
        house.eviction.close(visitors[0], DisconnectCode.EXPIRED)
        house.run()

        assert house.eviction.closed == 1

    def test_fault_of_one_keeps_no_other_open(
        self, house: House, caplog: pytest.LogCaptureFixture
    ) -> None:
        """It is logged, and the round goes on."""
        visitors = [house.enter("alice") for _ in range(3)]
        for visitor in visitors[:2]:
            visitor.fault = RuntimeError("bug")
        house.denied["alice"] = Kind.SID

        house.eviction.look_at(["alice"])
        house.run()

        assert [len(visitor.ends) for visitor in visitors] == [1, 1, 1]
        assert [record.message for record in caplog.records] == ["connection not closed"] * 2


class TestBatches:
    """However many: the loop's longest stall is one batch."""

    @pytest.mark.parametrize("users", [["alice"], None])
    def test_thousand_connections_close_a_few_at_a_time(
        self, house: House, users: list[str] | None
    ) -> None:
        """Of one user, or among all."""
        visitors = [house.enter("alice") for _ in range(1000)]
        house.denied["alice"] = Kind.SID

        house.eviction.look_at(users)
        house.run()

        assert all(visitor.closed for visitor in visitors)
        assert max(house.closes) == CLOSES_PER_TURN
        assert max(house.looks) <= LOOKS_PER_TURN

    def test_search_among_many_pauses_too(self, house: House) -> None:
        """Looking costs little, but not nothing."""
        for number in range(LOOKS_PER_TURN + 1):
            house.enter(f"u{number}")

        house.eviction.look_at(None)
        house.run()

        assert max(house.looks) == LOOKS_PER_TURN
        assert sum(house.looks) == LOOKS_PER_TURN + 1

    def test_named_users_come_before_the_search(self, house: House) -> None:
        """A log-out does not wait for the end of a client with thousands of connections."""
        crowd = [house.enter("bot") for _ in range(10 * CLOSES_PER_TURN)]
        alice = house.enter("alice")
        house.denied |= {"bot": Kind.CLIENT, "alice": Kind.SID}
        house.eviction.look_at(None)
        house.turn()

        house.eviction.look_at(["alice"])
        house.turn()

        assert alice.closed
        assert not all(visitor.closed for visitor in crowd)

    def test_what_is_wanted_in_the_meantime_is_done_too(self, house: House) -> None:
        """A second search finds what the first had passed."""
        first = house.enter("alice")
        for _ in range(LOOKS_PER_TURN):
            house.enter("bob")
        house.eviction.look_at(None)
        house.turn()

        house.denied["alice"] = Kind.CLIENT
        for _ in range(5):
            house.eviction.look_at(None)
        house.run()

        assert first.closed
        assert sum(house.looks) <= 2 * (LOOKS_PER_TURN + 1)

    def test_nothing_waits_twice(self, house: House) -> None:
        """However often the same is wanted: wishes are users that are connected."""
        house.enter("alice")

        for _ in range(100):
            house.eviction.look_at(["alice", "nobody"])

        assert len(house.eviction) == 1
        assert len(house.ready) == 1
        house.run()
        assert len(house.eviction) == 0
        assert sum(house.looks) == 1
