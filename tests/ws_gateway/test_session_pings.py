"""Who is pinged, and how; and what follows from silence."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from tests.ws_gateway.sessions import (
    HOUR,
    PONG,
    REQUESTS,
    START,
    SUBSCRIBE,
    Make,
    assert_closes,
    assert_ends,
    bare,
    connected,
    connected_by_token,
    name,
    with_credentials,
    without_id,
)
from ws_gateway.codes import DisconnectCode
from ws_gateway.protocol.messages import Command
from ws_gateway.session import Session, Tick


class TestPings:
    """Section 6."""

    @pytest.mark.parametrize("make", [connected, connected_by_token, bare])
    @pytest.mark.parametrize("jitter", [0.0, 0.5, 0.999])
    def test_first_ping_comes_between_half_and_one_interval(
        self, make: Make, jitter: float
    ) -> None:
        """A crowd that came together is not pinged together."""
        session = make() if make is connected_by_token else make(jitter=jitter)

        assert START + 10 <= session.deadline <= START + 20
        assert session.tick(session.deadline - 0.001) is None
        assert session.tick(session.deadline) is not None

    def test_then_every_interval(self) -> None:
        """On schedule, also on a busy connection: Python's SDK listens to pings alone."""
        session = connected()
        pings = []
        for tenth in range(1000):
            now = START + tenth / 10
            if session.tick(now) is Tick.PING:
                pings.append(now - START)
                session.receive(PONG, now)
            session.receive(REQUESTS[2], now)

        assert pings == [10, 30, 50, 70, 90]

    def test_no_pong_in_time_is_3012(self) -> None:
        """Whatever else the client sends."""
        session = connected()
        session.tick(START + 10)

        session.receive(SUBSCRIBE, START + 17)

        assert session.tick(START + 17.9) is None
        assert_closes(DisconnectCode.NO_PONG, session, START + 18)

    def test_pong_in_time_is_taken(self) -> None:
        """Then the next thing due is the next ping."""
        session = connected()
        session.tick(START + 10)

        assert session.receive(PONG, START + 17.9) is None
        assert session.deadline == START + 30

    def test_pong_without_a_ping_is_3501(self) -> None:
        """Section 4, step 2."""
        assert_ends(DisconnectCode.BAD_REQUEST, connected(), PONG)

    def test_second_pong_is_3501(self) -> None:
        """Section 4, step 2."""
        session = connected()
        session.tick(START + 10)
        session.receive(PONG, START + 11)

        assert_ends(DisconnectCode.BAD_REQUEST, session, PONG)

    @pytest.mark.parametrize("command", REQUESTS, ids=name)
    def test_request_without_id_is_a_pong(self, command: Command) -> None:
        """Section 4, step 2: what it asks for is not looked at."""
        session = connected()
        session.tick(START + 10)
        pong = without_id(command)

        assert session.receive(pong, START + 11) is None
        assert_ends(DisconnectCode.BAD_REQUEST, session, pong)

    def test_native_pings_are_sent_and_owe_no_pong(self) -> None:
        """``cf_ws_frame_ping_pong``: then ``{}`` is a pong without a ping."""
        session = connected(frame_pings=True)

        assert not session.pings
        assert session.tick(START + 10) is Tick.FRAME_PING
        assert session.tick(START + 18) is None
        assert_ends(DisconnectCode.BAD_REQUEST, session, PONG)


class TestBare:
    """A connection that never said ``connect`` (design section 2)."""

    def test_it_is_pinged_by_frames(self) -> None:
        """Never by ``{}``, which a line-based client would have to understand."""
        session = bare()

        assert not session.pings
        assert session.tick(START + 10) is Tick.FRAME_PING

    @pytest.mark.parametrize("command", REQUESTS, ids=name)
    def test_command_without_id_is_performed(self, command: Command) -> None:
        """It is no pong."""
        assert bare().receive(without_id(command), START) is command.request

    def test_empty_command_is_nothing(self) -> None:
        """It owes no ``{}``, and may send any number."""
        session = bare()

        for _ in range(3):
            assert session.receive(PONG, START + 1) is None

    def test_silence_for_three_intervals_is_3012(self) -> None:
        """Not even a WebSocket pong came."""
        session = bare()

        for ping in (10, 30, 50):
            assert session.tick(START + ping) is Tick.FRAME_PING

        assert_closes(DisconnectCode.NO_PONG, session, START + 70)

    @pytest.mark.parametrize("sign", [lambda session: session.receive(PONG, START + 30), None])
    def test_any_sign_of_life_counts(self, sign: Callable[[Session], object] | None) -> None:
        """A command, a ping or a pong frame."""
        session = bare()
        if sign is None:
            session.seen(START + 30)
        else:
            sign(session)

        for ping in (10, 30, 50, 70):
            assert session.tick(START + ping) is Tick.FRAME_PING

        assert_closes(DisconnectCode.NO_PONG, session, START + 90)

    def test_silence_is_counted_from_the_beginning_of_bare(self) -> None:
        """The time before belongs to the connect timeout."""
        session = with_credentials()
        assert session.tick(START + 10) is Tick.BEGIN_BARE

        for ping in (20, 40, 60):
            assert session.tick(START + ping) is Tick.FRAME_PING
        assert_closes(DisconnectCode.NO_PONG, session, START + 80)

    @pytest.mark.parametrize("make", [bare, connected])
    def test_transport_that_sees_no_pongs_is_not_pinged(self, make: Make) -> None:
        """Plain ASGI can neither send ping frames nor see pongs: its server watches the peer."""
        session = make(pings_seen=False, frame_pings=True)

        assert session.deadline == START + HOUR
        assert session.tick(START + HOUR / 2) is None

    def test_protocol_pings_need_no_ping_frames(self) -> None:
        """They are messages like all others."""
        session = connected(pings_seen=False)

        assert session.tick(START + 10) is Tick.PING
