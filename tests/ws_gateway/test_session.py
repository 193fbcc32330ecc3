"""The state machine of one connection: every arrow of the drawing in its module's docstring.

Time is an argument, so that a timeout of hours takes a microsecond here.
"""

from __future__ import annotations

from math import inf

import pytest
from msgspec import Raw

from tests.ws_gateway.sessions import (
    ALICE,
    CONNECT,
    HOUR,
    PONG,
    REQUESTS,
    START,
    SUBSCRIBE,
    Make,
    assert_closes,
    assert_ends,
    assert_refused,
    bare,
    connected,
    connected_by_token,
    failed,
    name,
    opened,
    with_credentials,
)
from ws_gateway.codes import DisconnectCode, ErrorCode
from ws_gateway.credentials import GUEST, Credentials
from ws_gateway.exceptions import ReplyError
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
    SendRequest,
    StreamPosition,
    SubRefreshRequest,
    SubscribeRequest,
    UnsubscribeRequest,
)
from ws_gateway.session import SessionLimits, State, Tick

ANY_COMMAND = [*REQUESTS, CONNECT, PONG, Command(id=3), Command(send=SendRequest())]


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
