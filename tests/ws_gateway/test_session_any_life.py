"""Any commands at any times: the arrows that the session's module draws, and no others."""

from __future__ import annotations

from math import inf
from typing import Any

from hypothesis import settings, strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from tests.ws_gateway.sessions import ALICE, CONNECT, GRANT, HOUR, LIMITS, PONG, START, opened
from ws_gateway.codes import DisconnectCode
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
    SubRefreshRequest,
    SubscribeRequest,
    UnsubscribeRequest,
)
from ws_gateway.session import Session, State, Tick

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
