"""The state machine of one connection: every arrow of the drawing in its module's docstring.

Time is an argument, so that a timeout of hours takes a microsecond here.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from math import inf
from typing import Any

import msgspec
import pytest
from hypothesis import settings, strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule
from msgspec import Raw

from ws_gateway.codes import DisconnectCode, ErrorCode
from ws_gateway.credentials import GUEST, Credentials, SubscriptionGrant
from ws_gateway.exceptions import Disconnect, ReplyError
from ws_gateway.protocol.messages import (
    Command,
    ConnectRequest,
    FilterNode,
    HistoryRequest,
    PingRequest,
    PresenceRequest,
    PresenceStatsRequest,
    PublishRequest,
    RefreshRequest,
    Request,
    RPCRequest,
    SendRequest,
    StreamPosition,
    SubRefreshRequest,
    SubscribeRequest,
    UnsubscribeRequest,
)
from ws_gateway.session import Session, SessionLimits, State, Tick

LIMITS = SessionLimits(
    connect_timeout=10, ping_interval=20, pong_timeout=8, expiry_grace=25, max_channels=3
)
START = 1000.0
HOUR = 3600.0
ALICE = Credentials(
    user="alice",
    client_id="chat",
    scopes=frozenset({"connect"}),
    expires_at=1_900_000_000,
    jti="j",
    sid="s",
    issuer="https://issuer.example",
)

CONNECT = Command(id=1, connect=ConnectRequest())
PONG = Command()
SUBSCRIBE = Command(id=2, subscribe=SubscribeRequest(channel="news"))

Make = Callable[..., Session]


def opened(**options: Any) -> Session:  # noqa: ANN401 - Session's own
    """Return a session whose handshake has just ended."""
    values: dict[str, Any] = {"now": START, "jitter": 0.0}
    return Session(LIMITS, **values | options)


def with_credentials(**options: Any) -> Session:  # noqa: ANN401
    """Return one that was authenticated at the handshake, for an hour."""
    values: dict[str, Any] = {"credentials": ALICE, "lifetime": HOUR}
    return opened(**values | options)


def connected(**options: Any) -> Session:  # noqa: ANN401
    """Return one that has connected with the handshake's credentials."""
    session = with_credentials(**options)
    session.receive(CONNECT, START)
    session.connected(START, ALICE, None)
    return session


def connected_by_token(lifetime: float = HOUR) -> Session:
    """Return one that has connected with a token in ``connect``."""
    session = opened()
    session.receive(Command(id=1, connect=ConnectRequest(token="t")), START)
    session.connected(START, ALICE, lifetime)
    return session


def bare(**options: Any) -> Session:  # noqa: ANN401
    """Return a bare one."""
    session = with_credentials(**options)
    session.receive(PONG, START)
    return session


def failed() -> Session:
    """Return one whose ``connect`` was refused."""
    session = with_credentials()
    session.receive(CONNECT, START)
    session.connect_failed()
    return session


def assert_ends(code: DisconnectCode, session: Session, command: Command) -> None:
    """Send a command that ends the connection."""
    with pytest.raises(Disconnect) as caught:
        session.receive(command, START + 1)
    assert caught.value.code is code


def assert_refused(code: ErrorCode, session: Session, command: Command) -> None:
    """Send a command that fails, and leaves everything as it was."""
    state, channels = session.state, set(session.channels)

    with pytest.raises(ReplyError) as caught:
        session.receive(command, START + 1)

    assert caught.value.code == code
    assert (session.state, set(session.channels)) == (state, channels)


def assert_closes(code: DisconnectCode, session: Session, at: float) -> None:
    """See that the time ends the connection at that moment, and is asked for then."""
    assert session.deadline <= at
    with pytest.raises(Disconnect) as caught:
        session.tick(at)
    assert caught.value.code is code


REQUESTS: list[Command] = [
    Command(id=2, subscribe=SubscribeRequest(channel="news")),
    Command(id=2, unsubscribe=UnsubscribeRequest(channel="news")),
    Command(id=2, publish=PublishRequest(channel="news", data=Raw(b"1"))),
    Command(id=2, presence=PresenceRequest(channel="news")),
    Command(id=2, presence_stats=PresenceStatsRequest(channel="news")),
    Command(id=2, history=HistoryRequest(channel="news", since=StreamPosition(offset=2**64 - 1))),
    Command(id=2, rpc=RPCRequest()),
]
"""Commands that every authenticated connection may send."""

ANY_COMMAND = [*REQUESTS, CONNECT, PONG, Command(id=3), Command(send=SendRequest())]


def name(command: Command) -> str:
    """Name a command in a test's id."""
    return type(command.request).__name__ + ("" if command.id else " without id")


class TestOpened:
    """Before the first command."""

    @pytest.mark.parametrize("credentials", [None, ALICE])
    def test_connect_is_performed(self, credentials: Credentials | None) -> None:
        """OPENED ─ connect ─► CONNECTING."""
        session = opened(credentials=credentials, lifetime=HOUR)
        request = ConnectRequest(token="t")

        assert session.receive(Command(id=1, connect=request), START) is request
        assert session.state is State.CONNECTING

    def test_connect_without_a_token_uses_the_handshakes_credentials(self) -> None:
        """Once authenticated at the handshake, no token is needed."""
        session = with_credentials(token_allowed=False)

        assert session.receive(CONNECT, START) == ConnectRequest()

    def test_connect_without_any_credential_is_109(self) -> None:
        """So that an SDK calls getToken, and a page refreshes its session (design section 2)."""
        session = opened()

        with pytest.raises(ReplyError) as caught:
            session.receive(CONNECT, START)

        assert caught.value.code == ErrorCode.TOKEN_EXPIRED
        assert session.state is State.FAILED

    def test_token_beside_one_of_the_handshakes_header_is_3501(self) -> None:
        """A token beats a cookie, but not a header or subprotocol (design section 2)."""
        session = with_credentials(token_allowed=False)

        assert_ends(
            DisconnectCode.BAD_REQUEST, session, Command(id=1, connect=ConnectRequest(token="t"))
        )

    @pytest.mark.parametrize("credentials", [None, ALICE])
    @pytest.mark.parametrize("token", ["", "t"])
    def test_connect_without_id_is_3501(self, credentials: Credentials | None, token: str) -> None:
        """It could not be answered."""
        session = opened(credentials=credentials, lifetime=HOUR)

        assert_ends(
            DisconnectCode.BAD_REQUEST, session, Command(connect=ConnectRequest(token=token))
        )

    @pytest.mark.parametrize(
        "command", [command for command in ANY_COMMAND if command is not CONNECT], ids=name
    )
    def test_command_before_connect_is_3501(self, command: Command) -> None:
        """Protocol section 4, step 3."""
        assert_ends(DisconnectCode.BAD_REQUEST, opened(), command)

    @pytest.mark.parametrize("command", [*REQUESTS, PONG], ids=name)
    def test_any_other_first_command_makes_an_authenticated_connection_bare(
        self, command: Command
    ) -> None:
        """OPENED ─ any other command, with credentials ─► BARE; the command is performed."""
        session = with_credentials()

        assert session.receive(command, START) is command.request
        assert session.state is State.BARE

    def test_first_command_that_fails_makes_it_bare_too(self) -> None:
        """A refusal is an answer; the connection goes on."""
        session = with_credentials()

        with pytest.raises(ReplyError):
            session.receive(Command(id=1, subscribe=SubscribeRequest(channel="c", type=1)), START)

        assert session.state is State.BARE

    def test_without_connect_in_time_it_is_stale(self) -> None:
        """3502 after the connect timeout (design section 2)."""
        session = opened()

        assert session.tick(START + 9.9) is None
        assert_closes(DisconnectCode.STALE, session, START + 10)

    def test_authenticated_connection_becomes_bare_in_time(self) -> None:
        """Nothing is asked of one that only listens."""
        session = with_credentials()

        assert session.deadline == START + 10
        assert session.tick(START + 10) is Tick.BEGIN_BARE
        assert session.state is State.BARE
        assert session.deadline == START + 20

    def test_credentials_may_expire_before_the_first_command(self) -> None:
        """3005 at ``exp``, whatever the state."""
        assert_closes(DisconnectCode.EXPIRED, with_credentials(lifetime=3), START + 3)

    def test_credentials_that_are_no_ones_business_do_not_expire(self) -> None:
        """Without credentials there is no lifetime."""
        assert opened(lifetime=0).tick(START + 1) is None


class TestConnecting:
    """While ``connect`` is being performed."""

    @pytest.mark.parametrize("credentials", [None, ALICE])
    def test_past_the_timeout_it_is_stale(self, credentials: Credentials | None) -> None:
        """A key set that does not come is no reason to stay for ever."""
        session = opened(credentials=credentials, lifetime=HOUR)
        session.receive(Command(id=1, connect=ConnectRequest(token="t")), START + 9)

        assert session.state is State.CONNECTING
        assert session.tick(START + 9.9) is None
        assert_closes(DisconnectCode.STALE, session, START + 10)

    def test_success_connects(self) -> None:
        """CONNECTING ─► CONNECTED."""
        session = connected()

        assert session.state is State.CONNECTED
        assert session.credentials is ALICE

    def test_failure_fails(self) -> None:
        """CONNECTING ─ connect refused ─► FAILED."""
        assert failed().state is State.FAILED


class TestFailed:
    """After a refused ``connect`` (protocol section 4, step 9)."""

    @pytest.mark.parametrize("command", ANY_COMMAND, ids=name)
    def test_any_command_is_3501(self, command: Command) -> None:
        """The connection is unusable; a batch behind the connect is not performed."""
        assert_ends(DisconnectCode.BAD_REQUEST, failed(), command)

    def test_it_is_closed_in_time(self) -> None:
        """3502 by the stale timer, unless the client closes first; it never becomes bare."""
        session = failed()

        assert session.tick(START + 5) is None
        assert_closes(DisconnectCode.STALE, session, START + 10)


class TestCommands:
    """What an authenticated connection may say."""

    @pytest.mark.parametrize("make", [connected, bare])
    @pytest.mark.parametrize("command", REQUESTS, ids=name)
    def test_request_is_performed(self, make: Make, command: Command) -> None:
        """Permissions are the node's business."""
        assert make().receive(command, START) is command.request

    @pytest.mark.parametrize("make", [connected, bare])
    def test_second_connect_is_3501(self, make: Make) -> None:
        """Section 4, step 3; ``connect`` is accepted as the first command only."""
        assert_ends(DisconnectCode.BAD_REQUEST, make(), CONNECT)

    @pytest.mark.parametrize("make", [connected, bare])
    def test_id_without_request_is_3501(self, make: Make) -> None:
        """Section 4, step 4: an unknown command decodes to this."""
        assert_ends(DisconnectCode.BAD_REQUEST, make(), Command(id=7))

    @pytest.mark.parametrize("make", [connected, bare])
    def test_ping_from_a_client_is_3501(self, make: Make) -> None:
        """Section 4, step 4."""
        assert_ends(DisconnectCode.BAD_REQUEST, make(), Command(id=7, ping=PingRequest()))

    @pytest.mark.parametrize("make", [connected, bare])
    @pytest.mark.parametrize("command_id", [0, 7])
    def test_send_is_3508(self, make: Make, command_id: int) -> None:
        """Section 4, step 6: there is no message handler."""
        assert_ends(
            DisconnectCode.NOT_AVAILABLE, make(), Command(id=command_id, send=SendRequest())
        )

    @pytest.mark.parametrize("make", [connected, bare])
    @pytest.mark.parametrize(
        "command",
        [
            Command(id=2, subscribe=SubscribeRequest()),
            Command(id=2, unsubscribe=UnsubscribeRequest()),
            Command(id=2, publish=PublishRequest(data=Raw(b"1"))),
            Command(id=2, presence=PresenceRequest()),
            Command(id=2, presence_stats=PresenceStatsRequest()),
            Command(id=2, history=HistoryRequest()),
        ],
        ids=name,
    )
    def test_empty_channel_is_3501(self, make: Make, command: Command) -> None:
        """Section 4, step 5."""
        assert_ends(DisconnectCode.BAD_REQUEST, make(), command)

    @pytest.mark.parametrize(
        "request_",
        [
            SubscribeRequest(tf=FilterNode()),
            SubscribeRequest(token="t"),
            SubscribeRequest(type=1),
        ],
    )
    def test_empty_channel_is_looked_for_first(self, request_: SubscribeRequest) -> None:
        """Section 7.1, step 1, before the limit and before every option."""
        session = connected()
        for channel in ("a", "b", "c"):
            session.subscribed(channel)

        assert_ends(DisconnectCode.BAD_REQUEST, session, Command(id=2, subscribe=request_))

    def test_offset_over_64_bits_is_3501(self) -> None:
        """It is undecodable: the schema has 64 bits."""
        too_big = 2**64

        for command in (
            Command(id=2, subscribe=SubscribeRequest(channel="c", offset=too_big)),
            Command(id=2, history=HistoryRequest(channel="c", since=StreamPosition(too_big))),
        ):
            assert_ends(DisconnectCode.BAD_REQUEST, connected(), command)

    def test_recovery_position_over_64_bits_is_3501(self) -> None:
        """The same in the positions that ``connect`` brings."""
        positions = {"a": SubscribeRequest(), "b": SubscribeRequest(offset=2**64)}

        assert_ends(
            DisconnectCode.BAD_REQUEST,
            with_credentials(),
            Command(id=1, connect=ConnectRequest(subs=positions)),
        )


class TestSubscribe:
    """The checks that need no permission (section 7.1)."""

    def test_double_subscribe_is_105(self) -> None:
        """Step 1."""
        session = connected()
        session.subscribed("news")

        assert_refused(ErrorCode.ALREADY_SUBSCRIBED, session, SUBSCRIBE)

    def test_after_unsubscribe_it_is_performed_again(self) -> None:
        """The end of a subscription is noted, also of one that was not there."""
        session = connected()
        session.subscribed("news")

        session.unsubscribed("news")
        session.unsubscribed("other")

        assert session.receive(SUBSCRIBE, START) is SUBSCRIBE.request
        assert not session.channels

    def test_one_channel_too_many_is_106(self) -> None:
        """Step 1; server-side subscriptions count."""
        session = connected()
        for channel in ("a", "b"):
            session.subscribed(channel)
        session.receive(SUBSCRIBE, START)
        session.subscribed("c")

        assert_refused(ErrorCode.LIMIT_EXCEEDED, session, SUBSCRIBE)

    def test_129th_channel_is_refused_by_default(self) -> None:
        """128 is the protocol's own limit."""
        assert SessionLimits().max_channels == 128

    @pytest.mark.parametrize("delta", ["", "fossil"])
    def test_known_delta_is_performed(self, delta: str) -> None:
        """Section 7.2: what is known but not granted is left out of the reply."""
        request = SubscribeRequest(channel="c", delta=delta)

        assert connected().receive(Command(id=2, subscribe=request), START) is request

    @pytest.mark.parametrize("delta", ["Fossil", "vcdiff", " "])
    def test_unknown_delta_is_3501(self, delta: str) -> None:
        """Section 7.2."""
        assert_ends(
            DisconnectCode.BAD_REQUEST,
            connected(),
            Command(id=2, subscribe=SubscribeRequest(channel="c", delta=delta)),
        )

    @pytest.mark.parametrize("kind", [1, 2, -1])
    def test_other_type_than_a_stream_is_103(self, kind: int) -> None:
        """Section 7.1, step 2, and section 22."""
        request = SubscribeRequest(channel="c", type=kind)

        assert_refused(ErrorCode.PERMISSION_DENIED, connected(), Command(id=2, subscribe=request))

    def test_subscription_token_is_for_others_to_judge(self) -> None:
        """Section 7.1, step 3."""
        request = SubscribeRequest(channel="c", token="t")

        assert connected().receive(Command(id=2, subscribe=request), START) is request


class TestSubRefresh:
    """Section 11."""

    @pytest.mark.parametrize("channel", ["news", ""])
    def test_token_of_a_subscription_may_be_replaced(self, channel: str) -> None:
        """Old Python SDKs leave the channel out: the token names it."""
        session = connected()
        session.subscribed("news")
        request = SubRefreshRequest(channel=channel, token="t")

        assert session.receive(Command(id=2, sub_refresh=request), START) is request

    @pytest.mark.parametrize(
        ("request_", "code"),
        [
            (SubRefreshRequest(channel="news"), ErrorCode.BAD_REQUEST),
            (SubRefreshRequest(), ErrorCode.BAD_REQUEST),
            (SubRefreshRequest(channel="other", token="t"), ErrorCode.PERMISSION_DENIED),
            (SubRefreshRequest(channel="other"), ErrorCode.PERMISSION_DENIED),
        ],
    )
    def test_otherwise_it_is_refused(self, request_: SubRefreshRequest, code: ErrorCode) -> None:
        """Not subscribed: 103; no token: 107."""
        session = connected()
        session.subscribed("news")

        assert_refused(code, session, Command(id=2, sub_refresh=request_))


class TestGuest:
    """A connection without any credential, where that is allowed (design section 2)."""

    def test_connect_needs_no_token(self) -> None:
        """OPENED ─ connect ─► CONNECTING."""
        session = opened(guest_allowed=True)

        assert session.receive(CONNECT, START) is CONNECT.connect
        assert session.state is State.CONNECTING

    def test_nothing_ends_it_but_silence(self) -> None:
        """There is no token that could expire, nor one to refresh."""
        session = opened(guest_allowed=True)
        session.receive(CONNECT, START)
        session.connected(START, GUEST, None)

        assert not session.expires_with_grace
        assert session.tick(START + 20) is Tick.PING
        assert session.deadline < inf
        assert_ends(
            DisconnectCode.BAD_REQUEST, session, Command(id=2, refresh=RefreshRequest(token="t"))
        )

    def test_other_first_command_is_3501(self) -> None:
        """A guest says so: bare connections are authenticated at the handshake."""
        assert_ends(DisconnectCode.BAD_REQUEST, opened(guest_allowed=True), SUBSCRIBE)

    def test_token_that_never_expires_may_be_refreshed(self) -> None:
        """It said nothing of an end, but the next one may."""
        session = connected_by_token(lifetime=inf)

        assert not session.expires_with_grace
        request = RefreshRequest(token="new")
        assert session.receive(Command(id=2, refresh=request), START) is request
        session.refreshed(START, ALICE, 10)
        assert session.expires_with_grace


GRANT = SubscriptionGrant(info=b'"i"')


class TestSubscriptionsThatEnd:
    """Section 11: without a refresh a subscription ends, 25 s after its token's end."""

    def test_clients_own_ends_alone(self) -> None:
        """The others go on, and so does the connection."""
        session = connected()
        for channel, lifetime in (("a", 0.0), ("b", 5.0), ("c", inf)):
            session.subscribed(channel)
            session.granted(START, channel, GRANT, lifetime=lifetime)

        assert session.deadline <= START + 25
        session.tick(START + 12)
        session.receive(PONG, START + 12)
        assert session.ended(START + 24.9) == []
        assert session.tick(START + 25) is Tick.END_SUBSCRIPTIONS
        assert session.ended(START + 25) == ["a"]
        session.unsubscribed("a")
        assert session.ended(START + 29) == []
        assert session.ended(START + 30) == ["b"]
        session.unsubscribed("b")
        assert session.ended(START + HOUR) == []
        assert session.grant("c") is GRANT
        session.unsubscribed("c")
        assert session.grant("c") is None

    def test_servers_own_ends_the_connection(self) -> None:
        """3006: the client could not begin it anew."""
        session = connected(lifetime=HOUR)
        session.granted(START, "a", GRANT, lifetime=-20, server_side=True)

        assert_closes(DisconnectCode.SUBSCRIPTION_EXPIRED, session, START + 5)

    def test_new_grant_moves_the_end(self) -> None:
        """As a sub_refresh does."""
        session = connected()
        session.granted(START, "a", GRANT, lifetime=1)
        session.granted(START, "a", GRANT, lifetime=100)

        assert session.ended(START + 124) == []
        assert session.ended(START + 125) == ["a"]

    def test_channel_without_a_grant_has_none(self) -> None:
        """Most have not."""
        session = connected()
        session.subscribed("a")

        assert session.grant("a") is None
        assert session.ended(START + HOUR) == []


class TestRefresh:
    """Section 11."""

    def test_connection_by_token_may_refresh(self) -> None:
        """The client was told a ``ttl``."""
        session = connected_by_token()
        request = RefreshRequest(token="new")

        assert session.expires_with_grace
        assert session.receive(Command(id=2, refresh=request), START) is request

    @pytest.mark.parametrize("make", [connected, bare])
    def test_others_may_not(self, make: Make) -> None:
        """3501: it comes back with a fresh credential instead (design section 2)."""
        session = make()

        assert not session.expires_with_grace
        assert_ends(
            DisconnectCode.BAD_REQUEST, session, Command(id=2, refresh=RefreshRequest(token="t"))
        )

    def test_refresh_without_token_is_3501(self) -> None:
        """Section 11."""
        assert_ends(
            DisconnectCode.BAD_REQUEST,
            connected_by_token(),
            Command(id=2, refresh=RefreshRequest()),
        )

    def test_refresh_moves_the_end(self) -> None:
        """To the new token's ``exp`` and its grace."""
        session = connected_by_token(lifetime=100)
        session.refreshed(START + 90, ALICE, 200)

        live(session, until=START + 90 + 200 + 25 - 0.1)

        assert_closes(DisconnectCode.EXPIRED, session, START + 90 + 200 + 25)


def live(session: Session, until: float) -> None:
    """Answer every ping until then."""
    while session.deadline <= until:
        now = session.deadline
        if session.tick(now) is Tick.PING:
            session.receive(PONG, now)
        session.seen(now)


class TestAge:
    """A connection comes back after a while, so that new gateways get their share."""

    AGED = replace(LIMITS, max_age=600)

    def aged(self, **options: Any) -> Session:  # noqa: ANN401 - Session's own
        """Return one that has connected by token, and may live ten minutes."""
        values: dict[str, Any] = {"now": START, "jitter": 0.0}
        session = Session(self.AGED, **values | options)
        session.receive(Command(id=1, connect=ConnectRequest(token="t")), START)
        session.connected(START, ALICE, HOUR)
        return session

    def test_it_is_asked_to_come_back(self) -> None:
        """3011, which SDKs reconnect after, with their positions."""
        session = self.aged()

        live(session, until=START + 599.9)

        assert_closes(DisconnectCode.FORCE_RECONNECT, session, START + 600)

    def test_chance_makes_it_earlier_and_never_later(self) -> None:
        """A crowd that came together does not leave together."""
        session = self.aged(jitter=0.5)

        live(session, until=START + 539.9)

        assert_closes(DisconnectCode.FORCE_RECONNECT, session, START + 540)

    def test_a_refresh_does_not_make_it_younger(self) -> None:
        """Its age is the socket's."""
        session = self.aged()
        session.refreshed(START + 500, ALICE, HOUR)

        live(session, until=START + 599.9)

        assert_closes(DisconnectCode.FORCE_RECONNECT, session, START + 600)

    def test_the_end_of_the_token_comes_first(self) -> None:
        """It says what the client needs."""
        session = with_credentials(lifetime=600)
        session._limits = self.AGED

        assert_closes(DisconnectCode.EXPIRED, session, START + 600)

    def test_one_that_has_said_nothing_has_an_age_too(self) -> None:
        """However long it may be silent."""
        limits = replace(self.AGED, connect_timeout=HOUR)
        session = Session(limits, now=START, jitter=0.0)

        assert_closes(DisconnectCode.FORCE_RECONNECT, session, START + 600)

    def test_there_is_no_limit_unless_one_is_set(self) -> None:
        """By default."""
        session = connected_by_token(lifetime=inf)

        live(session, until=START + 24 * HOUR)

        assert session.state is State.CONNECTED


class TestExpiry:
    """When credentials end, the connection does (section 5, design section 2)."""

    @pytest.mark.parametrize("make", [connected, bare])
    def test_handshakes_credentials_end_it_at_exp(self, make: Make) -> None:
        """3005, without grace."""
        session = make()

        live(session, until=START + HOUR - 0.1)

        assert_closes(DisconnectCode.EXPIRED, session, START + HOUR)

    def test_token_of_connect_ends_it_after_a_grace(self) -> None:
        """The client is given time to refresh."""
        session = connected_by_token()

        live(session, until=START + HOUR + 24.9)

        assert_closes(DisconnectCode.EXPIRED, session, START + HOUR + 25)

    def test_token_of_connect_beats_a_cookies_end(self) -> None:
        """It is verified as if there were no cookie."""
        session = with_credentials(lifetime=60)
        session.receive(Command(id=1, connect=ConnectRequest(token="t")), START)
        session.connected(START, ALICE, HOUR)

        live(session, until=START + 61)

        assert session.state is State.CONNECTED

    def test_end_comes_before_a_missing_pong(self) -> None:
        """The reason that tells the client what to do."""
        session = connected(lifetime=18)
        assert session.tick(START + 10) is Tick.PING

        assert_closes(DisconnectCode.EXPIRED, session, START + 18)


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


def without_id(command: Command) -> Command:
    """Return the same command as one that asks for no reply."""
    return msgspec.structs.replace(command, id=0)


class TestRepeats:
    """A transport that may bring a command twice, and out of order."""

    def test_a_command_is_carried_out_once(self) -> None:
        """In whatever order; the first connect is one of them."""
        session = connected(repeats=True)
        commands = [
            Command(id=number, publish=PublishRequest("news", Raw(b"1"))) for number in (4, 2, 3)
        ]

        assert [session.receive(command, START) for command in commands] == [
            command.request for command in commands
        ]
        assert [session.receive(command, START) for command in (*commands, CONNECT)] == [None] * 4
        assert_ends(DisconnectCode.BAD_REQUEST, session, Command(id=9, connect=ConnectRequest()))

    def test_a_pong_too_many_is_passed_over(self) -> None:
        """It would end the connection for good, and the client has done nothing wrong."""
        session = connected(repeats=True)
        session.tick(START + 10)

        assert [session.receive(PONG, START + 11) for _ in range(3)] == [None] * 3

    def test_elsewhere_a_number_may_come_again(self) -> None:
        """A WebSocket brings each message once: the number is the client's own."""
        session = connected()
        command = Command(id=4, publish=PublishRequest("news", Raw(b"1")))

        assert session.receive(command, START) is command.request
        assert session.receive(command, START) is command.request


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


CHANNEL_NAMES = st.sampled_from(["", "a", "b", "c", "d", "x" * 300])
REQUEST_STRATEGIES: dict[str, st.SearchStrategy[Any]] = {
    "connect": st.builds(ConnectRequest, token=st.sampled_from(["", "t"])),
    "ping": st.just(PingRequest()),
    "subscribe": st.builds(
        SubscribeRequest,
        channel=CHANNEL_NAMES,
        token=st.sampled_from(["", "", "t"]),
        delta=st.sampled_from(["", "", "fossil", "x"]),
        offset=st.sampled_from([0, 0, 2**64 - 1, 2**64]),
        type=st.sampled_from([0, 0, 1]),
        tf=st.sampled_from([None, None, FilterNode()]),
    ),
    "unsubscribe": st.builds(UnsubscribeRequest, channel=CHANNEL_NAMES),
    "publish": st.builds(PublishRequest, channel=CHANNEL_NAMES),
    "presence": st.builds(PresenceRequest, channel=CHANNEL_NAMES),
    "presence_stats": st.builds(PresenceStatsRequest, channel=CHANNEL_NAMES),
    "history": st.builds(HistoryRequest, channel=CHANNEL_NAMES),
    "rpc": st.just(RPCRequest()),
    "send": st.just(SendRequest()),
    "refresh": st.builds(RefreshRequest, token=st.sampled_from(["", "t"])),
    "sub_refresh": st.builds(
        SubRefreshRequest, channel=CHANNEL_NAMES, token=st.sampled_from(["", "t"])
    ),
}
COMMANDS = st.one_of(
    st.just(PONG),
    st.just(CONNECT),
    *(
        st.builds(Command, id=st.sampled_from([0, 1, 2**32 - 1]), **{field: requests})
        for field, requests in REQUEST_STRATEGIES.items()
    ),
)
DRAWING = {
    State.OPENED: {State.CONNECTING, State.BARE, State.FAILED},
    State.CONNECTING: {State.CONNECTED, State.FAILED},
    State.CONNECTED: set(),
    State.BARE: set(),
    State.FAILED: set(),
}


class AnyLife(RuleBasedStateMachine):
    """Whatever a client sends and however time goes: the drawing, and nothing beside it.

    It does what the connection does with a session: one command after the other, the outcome of
    each reported before the next.
    """

    session: Session

    @initialize()
    def start(self) -> None:
        """Begin."""
        self.now = START
        self.session = opened()
        self.ended = True

    @precondition(lambda self: self.ended)
    @rule(
        credentials=st.sampled_from([None, ALICE]),
        lifetime=st.sampled_from([5.0, HOUR]),
        jitter=st.floats(0, 1, exclude_max=True),
        token_allowed=st.booleans(),
        guest_allowed=st.booleans(),
        frame_pings=st.booleans(),
        pings_seen=st.booleans(),
    )
    def open(self, **options: Any) -> None:  # noqa: ANN401 - Session's own
        """End a handshake."""
        self.session = opened(now=self.now, **options)
        self.guest_allowed = options["guest_allowed"]
        self.ended = False
        self.state = State.OPENED
        self.channels: set[str] = set()
        self.request: Request | None = None

    @precondition(lambda self: not self.ended and self.request is None)
    @rule(command=COMMANDS)
    def command(self, command: Command) -> None:
        """Send a command."""
        before = self.session.state
        try:
            self.request = self.session.receive(command, self.now)
        except ReplyError:
            assert before is not State.FAILED
            return
        except Disconnect:
            self.ended = True
            return
        assert before is not State.FAILED
        assert self.request is None or self.request is command.request

    @precondition(lambda self: not self.ended and self.request is not None)
    @rule(lifetime=st.sampled_from([1.0, 60.0, HOUR]), fails=st.booleans())
    def perform(self, lifetime: float, fails: bool) -> None:
        """Report what became of it; meanwhile time may have passed."""
        request, self.request = self.request, None
        match request:
            case ConnectRequest(token=token):
                assert self.session.state is State.CONNECTING
                if fails:
                    self.session.connect_failed()
                else:
                    assert token or self.session.credentials is not None or self.guest_allowed
                    self.session.connected(self.now, ALICE, lifetime if token else None)
            case SubscribeRequest(channel=channel) if not fails:
                assert channel not in self.channels
                assert len(self.channels) < LIMITS.max_channels
                self.session.subscribed(channel)
                self.channels.add(channel)
                if request.token:
                    self.session.granted(self.now, channel, GRANT, lifetime=lifetime)
            case SubRefreshRequest(channel=channel) if channel and not fails:
                assert channel in self.channels
                self.session.granted(self.now, channel, GRANT, lifetime=lifetime)
            case UnsubscribeRequest(channel=channel):
                self.session.unsubscribed(channel)
                self.channels.discard(channel)
            case RefreshRequest() if not fails:
                self.session.refreshed(self.now, ALICE, lifetime)
            case _:
                pass

    @precondition(lambda self: not self.ended)
    @rule()
    def control_frame(self) -> None:
        """Receive a WebSocket pong."""
        self.session.seen(self.now)

    @precondition(lambda self: not self.ended)
    @rule(late=st.sampled_from([0.0, 0.1, 100.0]))
    def time_comes(self, late: float) -> None:
        """Tick when the session asked for it, or later."""
        deadline = self.session.deadline
        if deadline < inf:
            self.now = max(self.now, deadline) + late
            self.tick()

    @precondition(lambda self: not self.ended)
    @rule(seconds=st.sampled_from([0.0, 0.5, 7.0, 12.0]))
    def time_passes(self, seconds: float) -> None:
        """Tick before anything is due, or after."""
        self.now += seconds
        self.tick()

    def tick(self) -> None:
        """See what is due."""
        try:
            due = self.session.tick(self.now)
        except Disconnect as end:
            assert end.code in {  # noqa: PT017 - one of two ways out
                DisconnectCode.EXPIRED,
                DisconnectCode.STALE,
                DisconnectCode.NO_PONG,
            }
            self.ended = True
            return
        if due is Tick.PING:
            assert self.session.pings
        if due is Tick.END_SUBSCRIPTIONS:
            ended = self.session.ended(self.now)
            assert ended
            for channel in ended:
                self.session.unsubscribed(channel)
                self.channels.remove(channel)
            self.request = None if getattr(self.request, "channel", "") in ended else self.request
            self.tick()
            return
        assert self.session.deadline > self.now, "or the timer would spin"

    @invariant()
    def state_follows_the_drawing(self) -> None:
        """One arrow at a time, and no way back."""
        if not self.ended and self.session.state is not self.state:
            assert self.session.state in DRAWING[self.state]
            self.state = self.session.state

    @invariant()
    def channels_are_those_reported(self) -> None:
        """Neither a refusal nor the time changes them."""
        assert self.ended or set(self.session.channels) == self.channels

    @invariant()
    def only_who_is_known_gets_anything(self) -> None:
        """No state that performs commands is reached without credentials."""
        if self.session.state in {State.CONNECTED, State.BARE}:
            assert self.session.credentials is not None


AnyLife.TestCase.settings = settings(max_examples=150, stateful_step_count=40, deadline=None)
TestAnyLife = AnyLife.TestCase
