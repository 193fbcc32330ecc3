"""The I/O shell of one session: performs what the state machine asks for.

Commands of a connection are processed one after the other. A command is a coroutine, but most
never wait (a subscribed channel, the in-process broker, a cached token): it is stepped once by
hand, and becomes a task only if it waits for more than answers (``answers.py``). What arrives
meanwhile is kept, up to a bound.
"""

from __future__ import annotations

import asyncio
import logging
import os
import random
import uuid
from collections import deque
from collections.abc import Awaitable, Callable, Coroutine, Mapping
from dataclasses import replace
from math import ceil, inf
from typing import Any, NoReturn

from msgspec import Raw, structs
from typing_extensions import override

from ws_gateway.answers import Run, start
from ws_gateway.codes import DisconnectCode, ErrorCode, UnsubscribeCode
from ws_gateway.credentials import GUEST, Credentials, SubscriptionGrant
from ws_gateway.exceptions import (
    CannotVerify,
    Disconnect,
    InvalidToken,
    ReplyError,
    TokenExpired,
    TokenNotYetValid,
)
from ws_gateway.frames import PING, frame
from ws_gateway.hooks import Connected
from ws_gateway.node import Node
from ws_gateway.protocol.codec import Codec
from ws_gateway.protocol.messages import (
    ABSENT,
    EMPTY,
    REQUEST_NAMES,
    ClientInfo,
    Command,
    ConnectRequest,
    ConnectResult,
    Error,
    HistoryRequest,
    PingRequest,
    PresenceRequest,
    PresenceStatsRequest,
    PublishRequest,
    Push,
    RefreshRequest,
    RefreshResult,
    Reply,
    Request,
    RPCRequest,
    RPCResult,
    SendRequest,
    SubRefreshRequest,
    SubRefreshResult,
    SubscribeRequest,
    SubscribeResult,
    Unsubscribe,
    UnsubscribeRequest,
)
from ws_gateway.rate_limit import Bucket, Verdict
from ws_gateway.session import Session, State, SubscriptionKind, Tick
from ws_gateway.transport import Transport
from ws_gateway.writer import SlowReason, Writer

logger = logging.getLogger(__name__)

_CLOSED_BY_CLIENT = 3000  # the protocol's number for it, which is never sent
_OWN_CODES = frozenset(map(int, DisconnectCode))
_KEPT_MESSAGE_BYTES = 64  # what a waiting message costs beside its payload, which may be empty
_TURN_SECONDS = 0.005  # hundreds of usual commands; two or three of the longest answers
_JITTERS = tuple(step / 256 for step in range(256))  # numbers of one's own are 24 bytes each
_GO_ON = Verdict.GO_ON
_MAX_TTL = 365 * 86_400
_FRAME_PING = frame(PING, b"")
_NO_WISH = SubscribeRequest()

_Work = Callable[[], Coroutine[Any, Any, None]]


class _Waiting:
    """What is to be done when a command is through.

    Attributes:
        orders: To be carried out before anything else, and what is told when they are.
        messages: What the client has sent meanwhile.
        bytes: What those take.
    """

    __slots__ = ("bytes", "messages", "orders")

    def __init__(self) -> None:
        self.orders: deque[tuple[_Work, asyncio.Future[None]]] = deque()
        self.messages: deque[bytes] = deque()
        self.bytes = 0


class Connection(Writer):
    """One client's connection, from the accepted handshake to its end.

    Args:
        transport: Carries its frames.
        node: The process it is connected to.
        codec: The encoding that was agreed on.
        credentials: Whom the handshake authenticated, if it did.
        token_allowed: Whether ``connect`` may bring a token.
        guest_allowed: Whether it may be a guest, where guests are allowed; not with a bad cookie.
        frame_pings: The client asked for WebSocket pings.
        emulated: The id by which requests of its own kind bring the client's commands, where the
            transport carries only what the server says; empty where it carries both.
        authenticated: Called once, when it is known who this is or when the connection ends
            without that.
        address: The peer's, for the operator.

    Attributes:
        address: See above.
        emulated: See above.
        client: The connection's id.
        closed: It has ended, or is closing; nothing is sent any more.
        shown: See ``node.Member``; so is ``shown_of``.
    """

    __slots__ = (
        "_admitted",
        "_attached",
        "_authenticated",
        "_bucket",
        "_task",
        "_user_bucket",
        "_waiting",
        "address",
        "client",
        "closed",
        "codec",
        "emulated",
        "node",
        "session",
        "shown",
        "shown_of",
        "slot",
    )

    def __init__(
        self,
        transport: Transport,
        *,
        node: Node,
        codec: Codec,
        credentials: Credentials | None = None,
        token_allowed: bool = True,
        guest_allowed: bool = True,
        frame_pings: bool = False,
        emulated: str = "",
        authenticated: Callable[[], None] | None = None,
        address: str = "",
    ) -> None:
        super().__init__(transport, node.flusher, node.write_limits)
        now = node.loop.time()
        self.client = _new_id()
        self.address = address
        self.closed = False
        self.codec = codec
        self.node = node
        self.slot: int | None = None
        self.shown: ClientInfo | None = None
        self.shown_of: Credentials | None = None
        self.session = Session(
            node.session_limits,
            now=now,
            jitter=_JITTERS[int(random.random() * len(_JITTERS))],  # noqa: S311 - guards nothing
            credentials=credentials,
            lifetime=credentials.expires_at - node.clock() if credentials else 0,
            token_allowed=token_allowed,
            guest_allowed=credentials is None and guest_allowed and node.guests,
            frame_pings=frame_pings,
            pings_seen=transport.frame_pings,
            repeats=bool(emulated),
        )
        self._attached = False
        self._admitted: Connected | None = None
        self._bucket = node.command_rate.bucket()
        self._user_bucket: Bucket | None = None
        self._authenticated = authenticated
        self.emulated = emulated
        self._task: Run | None = None
        self._waiting: _Waiting | None = None
        node.join(self)
        node.timers.schedule(self, self.session.deadline)

    @property
    def credentials(self) -> Credentials | None:
        """Whose it is; None if nobody has said so yet."""
        return self.session.credentials

    # What the transport says

    def receive(self, payload: bytes, *, binary: bool) -> None:
        """Take one message."""
        if self.closed:
            return
        self.node.metrics.bytes_received += len(payload)
        if binary != self.codec.binary:
            self.disconnect(DisconnectCode.BAD_REQUEST, "wrong kind of message")
        elif self._task is not None:
            self._keep(payload)
        else:
            self._process(payload)

    def seen(self) -> None:
        """Take a ping or pong frame as a sign of life."""
        self.session.seen(self.node.loop.time())

    def stalled(self) -> None:
        """Give the peer a limited time to read again."""
        self.stall(self.node.loop.time())
        self.reschedule()

    def drained(self) -> None:
        """Forget that it did not read."""
        self.read_on()
        if self._holds_back:
            self.max_bytes = self.node.write_limits.max_queue_bytes
            for channel in self.session.channels:
                self.node.hub.let_through(channel, self)

    def failed(self, code: DisconnectCode | int, detail: str) -> None:
        """End, because the peer broke RFC 6455."""
        self.disconnect(code, detail)

    def lost(self, code: int) -> None:
        """Clean up after a socket that is gone."""
        if not self.closed:
            # A code that the peer made up would pass for one of ours, and be a label of its own.
            self._finish(min(code, _CLOSED_BY_CLIENT), "", logging.DEBUG)

    # What the time says

    def tick(self, now: float) -> None:
        """Do what is due (called by the timer wheel)."""
        if self.closed:
            return
        if self._stalled_too_long(now):
            self.slow(SlowReason.STALL)
            return
        try:
            match self.session.tick(now):
                case Tick.PING:
                    self.send(self.codec.ping)
                case Tick.FRAME_PING:
                    self.send(_FRAME_PING)
                case Tick.BEGIN_BARE:
                    self._start(self._guarded(self._attach()))
                case Tick.END_SUBSCRIPTIONS:
                    for channel in self.session.ended(now):
                        self.end_subscription(channel, UnsubscribeCode.EXPIRED)
                case None:
                    pass
        except Disconnect as end:
            self.end(end)
            return
        self.reschedule()

    def _stalled_too_long(self, now: float) -> bool:
        return (
            self.stalled_since is not None
            and now >= self.stalled_since + self.node.write_limits.max_stall_seconds
        )

    def reschedule(self) -> None:
        """Be called when something is due next; after whatever may have moved that."""
        if self.closed:
            return
        deadline = self.session.deadline
        if self.stalled_since is not None:
            deadline = min(deadline, self.stalled_since + self.node.write_limits.max_stall_seconds)
        self.node.timers.schedule(self, deadline)

    def end_subscription(self, channel: str, code: UnsubscribeCode) -> None:
        """End a subscription that it has, and tell the client."""
        self.session.unsubscribed(channel)
        self.node.unsubscribe(self, channel)
        end = Unsubscribe(code=code, reason=code.reason)
        self.send(self.codec.encode(Reply(push=Push(channel=channel, unsubscribe=end))))

    def lose_position(self, channel: str) -> None:
        """End a subscription that has a position, for publications were missed."""
        try:
            ends = self.session.lost_position(channel)
        except Disconnect as end:
            self.end(end)
            return
        if ends:
            self.end_subscription(channel, UnsubscribeCode.INSUFFICIENT_STATE)

    def miss(self, channel: str) -> None:
        """End a subscription because a publication was left out: it reads too slowly."""
        self.end_subscription(channel, UnsubscribeCode.INSUFFICIENT_STATE)

    # The end

    def disconnect(self, code: DisconnectCode | int, detail: str = "") -> None:
        """Flush what is pending, close with a code, clean up; idempotent."""
        self.end(Disconnect(code, detail))

    def end(self, end: Disconnect) -> None:
        """Do the same, as a ``Disconnect`` says."""
        if self.closed:
            return
        if not self.flush():
            return
        self._finish(end.code, end.detail, logging.INFO, reason=end.reason)
        self.transport.close(end.code, end.reason)

    def refuse(self, end: Disconnect) -> None:
        """End in the next turn of the loop: whoever calls is in the middle of a delivery."""
        self.node.loop.call_soon(self.disconnect, end.code, end.detail)

    @override
    def slow(self, reason: SlowReason) -> bool:
        """Hold back what may be, or abort: a close frame would only queue behind the rest."""
        if self.closed:
            return False
        if reason is SlowReason.BYTES and self._hold_back():
            return True
        self.node.metrics.queues_dropped[reason] += 1
        self._finish(DisconnectCode.SLOW, "", logging.INFO)
        self.transport.abort()
        return False

    @property
    def _holds_back(self) -> bool:
        return self.max_bytes > self.node.write_limits.max_queue_bytes

    def _hold_back(self) -> bool:
        """Take no more, until the peer has read, of channels that want it so.

        Once: then it has the same bytes and seconds again for the rest, such as the words that a
        subscription has ended.

        Returns:
            Whether there was anything to hold back.
        """
        if self._holds_back:
            return False
        session, node = self.session, self.node
        channels = [
            channel
            for channel, kind in session.channels.items()
            # One that the server began cannot be ended alone.
            if not kind & SubscriptionKind.SERVER_SIDE and node.drops_for_slow(channel)
        ]
        for channel in channels:
            node.hub.hold_back(channel, self)
        if channels:
            self.max_bytes = self.transport.buffered() + self.node.write_limits.max_queue_bytes
            self.stall(node.loop.time())
            self.reschedule()
        return bool(channels)

    def _finish(self, code: int, detail: str, level: int, *, reason: str = "") -> None:
        self.closed = True
        self.discard()
        self.node.timers.cancel(self)
        self._release()
        if self._task is not None:
            self._task.cancel()
        waiting, self._waiting = self._waiting, None
        for _, done in waiting.orders if waiting is not None else ():
            _set(done)
        session = self.session
        self.node.leave(self, session.channels)
        session.channels.clear()
        if session.credentials is not None:
            if self._admitted is not None:
                self.node.gone(self, session.credentials, int(code))
            if self._user_bucket is not None:
                self.node.paces.leave(session.credentials.user)
                self._user_bucket = None
        self.node.metrics.disconnects[_label(int(code))] += 1
        lasted = self.node.loop.time() - self.session.opened
        self.node.metrics.connection_seconds.observe(lasted)
        self.node.closes.note(
            at=self.node.clock(),
            client=self.client,
            user=session.credentials.user if session.credentials is not None else "",
            address=self.address,
            code=int(code),
            reason=reason,
            detail=detail,
            lasted=lasted,
        )
        if logger.isEnabledFor(level):
            fields = {"connection": self.client, "code": int(code), "detail": detail}
            logger.log(level, "connection closed", extra=fields)

    def _release(self) -> None:
        if self._authenticated is not None:
            self._authenticated()
            self._authenticated = None

    # Commands

    def _keep(self, payload: bytes) -> None:
        waiting = self._waiting
        if waiting is None:
            waiting = self._waiting = _Waiting()
        waiting.messages.append(payload)
        waiting.bytes += len(payload) + _KEPT_MESSAGE_BYTES
        if waiting.bytes > self.node.max_message_bytes:
            self.transport.pause_reading()

    def _process(self, payload: bytes) -> None:
        try:
            commands = self.codec.decode(payload)
        except Disconnect as end:
            self.end(end)
            return
        if len(commands) == 1 and self.node.flusher.turn_of is not self:
            # The first of this turn, and most often all there is.
            self._begin_turn()
            self._start(self._guarded(self._perform(commands[0])))
        else:
            self._start(self._guarded(self._perform_all(commands)))

    def _start(self, work: Coroutine[Any, Any, None]) -> None:
        self._task = start(work, self.node.loop, self._performed)

    def _performed(self) -> None:
        self._task = None
        while not self.busy and (waiting := self._waiting) is not None:
            if waiting.orders:
                # Before what the client has sent: it may go on to send for ever.
                self._start(self._carry_out(*waiting.orders.popleft()))
            elif waiting.messages:
                payload = waiting.messages.popleft()
                waiting.bytes -= len(payload) + _KEPT_MESSAGE_BYTES
                self._process(payload)
            else:
                self._waiting = None
        waits = 0 if self._waiting is None else self._waiting.bytes
        if waits <= self.node.max_message_bytes and not self.closed:
            self.transport.resume_reading()

    @property
    def busy(self) -> bool:
        """Whether a command is being performed."""
        return self._task is not None

    async def perform(self, work: _Work) -> None:
        """Do something between two messages of the client's, as if it were the next one.

        It is not done if the connection ends before; what it raises, but a ``Disconnect``, which
        ends the connection, is for it to handle.
        """
        if self.closed:
            return
        done: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        if self.busy:
            if self._waiting is None:
                self._waiting = _Waiting()
            self._waiting.orders.append((work, done))
        else:
            self._start(self._carry_out(work, done))
        await done

    async def _carry_out(self, work: _Work, done: asyncio.Future[None]) -> None:
        try:
            await self._guarded(work())
        finally:
            _set(done)

    async def _guarded(self, work: Coroutine[Any, Any, None]) -> None:
        try:
            await work
        except Disconnect as end:
            self.end(end)
        except Exception:
            incident = uuid.uuid4().hex
            logger.exception("internal error", extra={"connection": self.client, "id": incident})
            self.disconnect(DisconnectCode.INTERNAL, incident)

    async def _perform_all(self, commands: list[Command]) -> None:
        loop, flusher = self.node.loop, self.node.flusher
        for command in commands:
            if flusher.turn_of is not self:
                self._begin_turn()
            elif loop.time() >= flusher.turn_ends:
                await asyncio.sleep(0)
                self._begin_turn()
            await self._perform(command)
            if self.closed:
                return

    def _begin_turn(self) -> None:
        """Note that what this client has asked for in this turn of the loop begins now.

        Whoever speaks in between ends that, and has let others have their turn by then.
        """
        flusher = self.node.flusher
        flusher.turn_of = self
        flusher.turn_ends = self.node.loop.time() + _TURN_SECONDS

    async def _perform(self, command: Command) -> None:
        session, now = self.session, self.node.loop.time()
        try:
            own = _GO_ON if self._bucket is None else self._bucket.take(now)
            users = _GO_ON if self._user_bucket is None else self._user_bucket.take(now)
            if own is not _GO_ON or users is not _GO_ON:
                _refuse_haste(own, users)
            try:
                request = session.receive(command, now)
            finally:
                # A first command makes the connection bare also if it fails.
                if session.state is State.BARE and not self._attached:
                    await self._attach()
            if request is None:
                return
            self.node.metrics.messages_received[REQUEST_NAMES[type(request)]] += 1
            reply: Reply | None = None
            # Of these there are the most.
            if isinstance(request, PublishRequest):
                await self._publish(request)
            else:
                reply = await self._answer(command.id, request)
            # A command without id, as a bare client may send it, asks for no reply.
            if not command.id:
                return
            codec = self.codec
            answer = codec.acknowledge(command.id) if reply is None else codec.encode(reply)
        except ReplyError as error:
            self._log_refusal(error, command)
            reason = Error(code=error.code, message=error.message, temporary=error.temporary)
            answer = self.codec.encode(Reply(id=command.id, error=reason))
        if not self.closed:
            self.send(answer)

    def _log_refusal(self, error: ReplyError, command: Command) -> None:
        self.node.metrics.command_errors[error.code] += 1
        fields = {
            "connection": self.client,
            "command": REQUEST_NAMES[type(command.request)],
            "code": error.code,
        }
        logger.info("command refused", extra=fields)

    def _publish(self, request: PublishRequest) -> Awaitable[None]:
        session, channel = self.session, request.channel
        credentials = session.credentials
        if credentials is None:  # the session lets only connect pass without
            raise Disconnect(DisconnectCode.BAD_REQUEST, "command before connect")
        grant = session.grant(channel)
        return self.node.publish(
            self,
            credentials,
            channel,
            request.data,
            subscribed=channel in session.channels,
            chan_info=None if grant is None else grant.info,
        )

    async def _answer(self, command_id: int, request: Request) -> Reply:
        if isinstance(request, ConnectRequest):
            return Reply(id=command_id, connect=await self._connect(request))
        credentials = self.session.credentials
        if credentials is None:  # the session lets only connect pass without
            raise Disconnect(DisconnectCode.BAD_REQUEST, "command before connect")
        match request:
            case SubscribeRequest():
                channel, result, grant = await self.node.subscribe(self, credentials, request)
                self.session.subscribed(channel, _kind(result))
                if grant is not None:
                    self._granted(channel, grant)
                    result = self._with_grant(channel, result)
                return Reply(id=command_id, subscribe=result)
            case UnsubscribeRequest(channel=channel):
                if channel in self.session.channels:
                    self.session.unsubscribed(channel)
                    self.node.unsubscribe(self, channel)
                return Reply(id=command_id, unsubscribe=EMPTY)
            case RPCRequest(method=method, data=data):
                data = Raw(await self.node.call(self, credentials, method, data))
                return Reply(id=command_id, rpc=RPCResult(data=data))
            case RefreshRequest(token=token):
                return Reply(id=command_id, refresh=await self._refresh(credentials, token))
            case SubRefreshRequest():
                return Reply(id=command_id, sub_refresh=self._sub_refresh(credentials, request))
            case HistoryRequest() | PresenceRequest() | PresenceStatsRequest():
                return await self._look(command_id, credentials, request)
            case PublishRequest() | PingRequest() | SendRequest():
                pass  # the first is not for here, and the session has ended or answered the others
        raise ReplyError(ErrorCode.NOT_AVAILABLE)

    async def _look(
        self,
        command_id: int,
        credentials: Credentials,
        request: HistoryRequest | PresenceRequest | PresenceStatsRequest,
    ) -> Reply:
        """Answer what changes nothing."""
        subscribed = request.channel in self.session.channels
        if isinstance(request, HistoryRequest):
            history = await self.node.history(credentials, request, subscribed=subscribed)
            return Reply(id=command_id, history=history)
        channel = request.channel
        if isinstance(request, PresenceRequest):
            members = await self.node.members(credentials, channel, subscribed=subscribed)
            return Reply(id=command_id, presence=members)
        stats = await self.node.presence_stats(credentials, channel, subscribed=subscribed)
        return Reply(id=command_id, presence_stats=stats)

    async def _connect(self, request: ConnectRequest) -> ConnectResult:
        session, node = self.session, self.node
        lifetime: float | None = None
        try:
            credentials = session.credentials
            # The session has made sure that there is one of the two, or that a guest may come; a
            # token beats a cookie.
            if request.token:
                before = credentials
                credentials = await self._verify(request.token)
                lifetime = self._lifetime(credentials)
                same = before is not None and before.user == credentials.user
                if not same and not node.has_room_for(credentials.user):
                    raise Disconnect(DisconnectCode.CONNECTION_LIMIT, "of the user")
            elif credentials is None:
                credentials = GUEST
            admitted = await node.admit(self, credentials, request.data)
            if admitted.info is not None:
                credentials = replace(credentials, info=admitted.info)
            wishes = request.subs or {}
            channels = node.personal_channels(credentials, admitted.channels, wishes)
            results = await self._attach_all(credentials, channels, wishes)
        except ReplyError:
            session.connect_failed()
            raise
        self._attached = True
        before = session.credentials
        self._began(credentials, admitted, results)
        session.connected(node.loop.time(), credentials, lifetime)
        if before is not credentials:
            node.identify(self, before)
        if credentials.user:
            self._release()  # guests stay among those who have not said who they are
        self.reschedule()
        expires = lifetime is not None and session.expires_with_grace
        pings = session.pings
        subs: dict[str, SubscribeResult] | None = None
        if results:
            subs = {name: self._with_grant(name, result) for name, result in results.items()}
        return ConnectResult(
            client=self.client,
            version=node.version,
            expires=expires,
            ttl=whole_seconds(lifetime) if expires and lifetime is not None else 0,
            data=Raw(admitted.data) if admitted.data else ABSENT,
            subs=subs,
            ping=whole_seconds(node.session_limits.ping_interval) if pings else 0,
            pong=pings,
            session=self.emulated,
            node=node.id,
        )

    async def _attach(self) -> None:
        """Begin to deliver to a bare connection: its server-side subscriptions."""
        credentials = self.session.credentials
        if credentials is None or self._attached:
            return
        self._attached = True
        try:
            admitted = await self.node.admit(self, credentials, ABSENT)
        except ReplyError as error:
            # Nobody asked, so nobody can be answered; the client comes back after a temporary
            # failure, and not after a refusal.
            code = DisconnectCode.INTERNAL if error.temporary else DisconnectCode.PERMISSION_DENIED
            raise Disconnect(code, f"connect hook: {error}") from error
        if admitted.info is not None:
            credentials = replace(credentials, info=admitted.info)
        try:
            channels = self.node.personal_channels(credentials, admitted.channels)
            results = await self._attach_all(credentials, channels, {})
        except ReplyError as error:
            # The same of a claim that can never be met.
            code = DisconnectCode.INTERNAL if error.temporary else DisconnectCode.BAD_REQUEST
            raise Disconnect(code, f"server-side subscription: {error}") from error
        self._began(credentials, admitted, results)
        self.reschedule()

    async def _attach_all(
        self, credentials: Credentials, channels: list[str], wishes: Mapping[str, SubscribeRequest]
    ) -> dict[str, SubscribeResult]:
        """Begin the server-side subscriptions, where the client broke off if it says so."""
        if not channels and not self.closed:
            return {}
        requests = {channel: wishes.get(channel, _NO_WISH) for channel in channels}
        return await self.node.attach(
            self, credentials, requests, dict(credentials.subs), server_side=True
        )

    def _began(
        self, credentials: Credentials, admitted: Connected, results: dict[str, SubscribeResult]
    ) -> None:
        """Note that the connection was admitted, with these server-side subscriptions."""
        session, now = self.session, self.node.loop.time()
        session.credentials = credentials
        self._admitted = admitted
        self._user_bucket = self.node.paces.enter(credentials.user)
        self.node.came(credentials)
        grants = dict(credentials.subs)
        for channel, result in results.items():
            session.subscribed(channel, _kind(result) | SubscriptionKind.SERVER_SIDE)
            if channel in grants:
                grant = grants[channel]
                lifetime = grant.expires_at - self.node.clock()
                session.granted(now, channel, grant, lifetime=lifetime, server_side=True)

    def _lifetime(self, credentials: Credentials) -> float:
        if self.node.channels.insecure:
            return inf
        lifetime = credentials.expires_at - self.node.clock()
        if lifetime <= 0 and not credentials.issuer:
            # Not ``exp``, which was judged, but ``expire_at``.
            raise ReplyError(ErrorCode.EXPIRED)
        return lifetime

    def _granted(self, channel: str, grant: SubscriptionGrant) -> None:
        lifetime = grant.expires_at - self.node.clock()
        self.session.granted(self.node.loop.time(), channel, grant, lifetime=lifetime)
        self.reschedule()

    def _with_grant(self, channel: str, result: SubscribeResult) -> SubscribeResult:
        grant = self.session.grant(channel)
        if grant is None:
            return result
        return structs.replace(
            result, data=Raw(grant.data) if grant.data else ABSENT, **self._expiry(grant)
        )

    def _expiry(self, grant: SubscriptionGrant) -> dict[str, Any]:
        if grant.expires_at == inf:
            return {}
        return {"expires": True, "ttl": whole_seconds(grant.expires_at - self.node.clock())}

    def _sub_refresh(
        self, credentials: Credentials, request: SubRefreshRequest
    ) -> SubRefreshResult:
        try:
            token = self.node.check_subscription_token(
                self, credentials, request.channel, request.token
            )
        except TokenNotYetValid as error:
            raise ReplyError(ErrorCode.INTERNAL, error.message) from None
        except TokenExpired:
            raise Disconnect(DisconnectCode.SUBSCRIPTION_EXPIRED, "sub_refresh") from None
        except InvalidToken as error:
            raise Disconnect(DisconnectCode.INVALID_TOKEN, error.reason) from None
        if token.channel not in self.session.channels:
            raise ReplyError(ErrorCode.PERMISSION_DENIED)
        if token.grant.expires_at <= self.node.clock():
            raise Disconnect(DisconnectCode.SUBSCRIPTION_EXPIRED, "sub_refresh")
        current = self.session.grant(token.channel)
        # What others were told of the subscription stays; only its end moves.
        grant = replace(current or token.grant, expires_at=token.grant.expires_at)
        self._granted(token.channel, grant)
        return SubRefreshResult(**self._expiry(grant))

    async def _verify(
        self, token: str, *, too_early: ErrorCode = ErrorCode.TOKEN_EXPIRED
    ) -> Credentials:
        try:
            credentials = await self.node.verify(token)
        except TokenNotYetValid as error:
            raise ReplyError(too_early, error.message) from None
        except TokenExpired:
            raise ReplyError(ErrorCode.TOKEN_EXPIRED) from None
        except InvalidToken as error:
            raise Disconnect(DisconnectCode.INVALID_TOKEN, error.reason) from None
        except CannotVerify:
            raise ReplyError(ErrorCode.INTERNAL) from None
        scope = self.node.required_scope(credentials)
        if scope and scope not in credentials.scopes:
            raise Disconnect(DisconnectCode.PERMISSION_DENIED, "scope")
        if not credentials.user and not self.node.guests:
            raise Disconnect(DisconnectCode.PERMISSION_DENIED, "guest")
        return credentials

    async def _refresh(self, current: Credentials, token: str) -> RefreshResult:
        try:
            # Temporary: there is time for another one before the present one ends.
            credentials = await self._verify(token, too_early=ErrorCode.INTERNAL)
            lifetime = self._lifetime(credentials)
        except ReplyError as error:
            if error.code in (ErrorCode.TOKEN_EXPIRED, ErrorCode.EXPIRED):
                raise Disconnect(DisconnectCode.EXPIRED, "refresh") from None
            raise
        if (credentials.user, credentials.issuer) != (current.user, current.issuer):
            raise Disconnect(DisconnectCode.INVALID_TOKEN, "another user")
        if set(credentials.channels) != set(current.channels):
            # It would be other subscriptions: a new connection has them.
            raise Disconnect(DisconnectCode.INSUFFICIENT_STATE, "other channels")
        if self._admitted is not None and self._admitted.info is not None:
            credentials = replace(credentials, info=self._admitted.info)
        self.session.refreshed(self.node.loop.time(), credentials, lifetime)
        self.node.identify(self, current)
        self.reschedule()
        expires = self.session.expires_with_grace
        return RefreshResult(
            client=self.client,
            version=self.node.version,
            expires=expires,
            ttl=whole_seconds(lifetime) if expires else 0,
        )


class DeflatingConnection(Connection):
    """One whose client reads compressed messages."""

    takes_as_is = False

    __slots__ = ()

    @override
    def send(self, frame: bytes) -> None:
        super().send(self.node.deflater.shrink(frame))


def _new_id() -> str:
    """Make an id that nobody can guess: a UUID of version 4 (RFC 9562 section 5.4)."""
    # Without the objects that uuid makes on the way to its text, which take twice as long.
    number = os.urandom(16).hex()
    variant = "89ab"[int(number[16], 16) & 3]
    return f"{number[:8]}-{number[8:12]}-4{number[13:16]}-{variant}{number[17:20]}-{number[20:]}"


def _label(code: int) -> int:
    """Say as which close code an end is counted."""
    # A backend may choose any of two thousand, and each label is a time series.
    if code <= _CLOSED_BY_CLIENT or code in _OWN_CODES:
        return code
    return int(DisconnectCode.FORCE_DISCONNECT)


def _set(done: asyncio.Future[None]) -> None:
    if not done.done():  # whoever waited may have given up
        done.set_result(None)


def _refuse_haste(own: Verdict, users: Verdict) -> NoReturn:
    """Refuse a command beyond the connection's own pace, or its user's."""
    if Verdict.CLOSE in (own, users):
        raise Disconnect(DisconnectCode.TOO_MANY_REQUESTS)
    raise ReplyError(ErrorCode.TOO_MANY_REQUESTS)


def _kind(result: SubscribeResult) -> SubscriptionKind:
    return SubscriptionKind.POSITIONED if result.positioned else SubscriptionKind.PLAIN


def whole_seconds(seconds: float) -> int:
    """Say a time to live as the protocol does."""
    # Never 0, which would be left out of the reply, where SDKs look for it; and at most a year,
    # which is more than any SDK's timer can hold.
    return min(max(1, ceil(seconds)), _MAX_TTL)
