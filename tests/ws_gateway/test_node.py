"""The operations of one process: what leaves nothing behind, and how a process drains."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import pytest
from msgspec import Raw

from tests.ws_gateway.conftest import Gateway, Peer, raw, settle
from ws_gateway.codes import DisconnectCode, ErrorCode
from ws_gateway.credentials import Credentials
from ws_gateway.exceptions import BrokerUnavailable, Disconnect, ReplyError
from ws_gateway.hooks import Caller, Hooks
from ws_gateway.protocol.messages import Publication

MakeCredentials = Callable[..., Credentials]


class TestAttach:
    """The first subscriber of a channel asks the broker, the last one gives it up."""

    async def test_broker_is_asked_once_per_channel(
        self, gateway: Gateway, alice: Credentials, bob: Credentials
    ) -> None:
        """Whoever comes later is served by the subscription that is there."""
        peers = [await gateway.connect(who) for who in (alice, bob, alice)]
        for peer in peers:
            await peer.ask({"id": 2, "subscribe": {"channel": "news"}})

        assert gateway.broker.requests.count(("subscribe", "news")) == 1
        for peer in peers:
            assert gateway.broker.subscribed("news")
            peer.connection.lost(1006)
        assert not gateway.broker.subscribed("news")
        assert gateway.broker.requests.count(("unsubscribe", "news")) == 1

    async def test_two_at_once_share_the_channel(
        self, gateway: Gateway, alice: Credentials, bob: Credentials
    ) -> None:
        """Both ask while neither has it; both get it, and both must leave before it goes."""
        peers = [await gateway.connect(who) for who in (alice, bob)]
        gateway.broker.held = True
        for peer in peers:
            peer.send({"id": 2, "subscribe": {"channel": "news"}})

        gateway.broker.release()

        for peer in peers:
            assert await peer.receive() == [{"id": 2, "subscribe": {}}]
        peers[0].connection.lost(1006)
        assert gateway.broker.subscribed("news")

    async def test_one_that_gives_up_does_not_take_the_channel_from_another(
        self, gateway: Gateway, alice: Credentials, bob: Credentials
    ) -> None:
        """The other looks again, and asks anew."""
        leaving, staying = [await gateway.connect(who) for who in (alice, bob)]
        gateway.broker.held = True
        for peer in (leaving, staying):
            peer.send({"id": 2, "subscribe": {"channel": "news"}})
        await settle()

        leaving.connection.lost(1006)
        await settle()
        gateway.broker.release()
        await settle()
        gateway.publish("news", 1)

        replies = await staying.receive()
        assert replies[0] == {"id": 2, "subscribe": {}}
        assert replies[1]["push"]["pub"]["data"] == 1
        assert gateway.broker.subscribed("news")

    async def test_last_one_leaving_during_anothers_wait(
        self, gateway: Gateway, alice: Credentials, bob: Credentials
    ) -> None:
        """The broker is told to give the channel up before it has answered the second."""
        first, second = [await gateway.connect(who) for who in (alice, bob)]
        gateway.broker.held = True
        first.send({"id": 2, "subscribe": {"channel": "news"}})
        second.send({"id": 2, "subscribe": {"channel": "news"}})
        gateway.broker.release(count=1)
        await settle()
        assert await first.receive() == [{"id": 2, "subscribe": {}}]

        first.connection.lost(1006)
        gateway.broker.release()

        assert await second.receive() == [{"id": 2, "subscribe": {}}]
        assert gateway.broker.subscribed("news")

    async def test_all_or_none(self, gateway: Gateway, make_credentials: MakeCredentials) -> None:
        """What was had before the broker went away is given up again."""
        peer = gateway.open(make_credentials(channels=("staff:1", "staff:2")))
        gateway.broker.held = True
        peer.send({"id": 1, "connect": {}})
        await settle()
        gateway.broker.release(count=1)
        await settle()

        gateway.broker.release(BrokerUnavailable())

        (reply,) = await peer.receive()
        assert reply["error"] == {
            "code": 100,
            "message": "internal server error",
            "temporary": True,
        }
        assert gateway.broker.channels == set()
        assert len(gateway.node.hub) == 0

    async def test_channel_that_a_claim_names_twice_is_one(
        self, gateway: Gateway, make_credentials: MakeCredentials
    ) -> None:
        """Also one's own personal channel."""
        who = make_credentials(channels=("staff:1", "staff:1", "dm:#alice"))

        assert gateway.node.personal_channels(who) == ["staff:1", "dm:#alice"]

    @pytest.mark.parametrize(
        ("channel", "code"), [("nowhere:1", 102), ("é", 107), ("", 107), ("dm:#bob", 103)]
    )
    async def test_claim_that_names_no_channel_is_refused(
        self, gateway: Gateway, make_credentials: MakeCredentials, channel: str, code: int
    ) -> None:
        """Protocol section 5: an unknown namespace is 102; another's personal channel is 103."""
        with pytest.raises(ReplyError) as caught:
            gateway.node.personal_channels(make_credentials(channels=(channel,)))

        assert caught.value.code == code

    async def test_more_channels_than_a_connection_may_have_end_it(
        self, gateway: Gateway, make_credentials: MakeCredentials
    ) -> None:
        """Protocol section 5: too many server-side channels are 3505, the personal one counted."""
        limit = gateway.node.session_limits.max_channels
        channels = tuple(f"staff:{number}" for number in range(limit))

        with pytest.raises(Disconnect) as caught:
            gateway.node.personal_channels(make_credentials(channels=channels))

        assert caught.value.code == 3505


class TestPublish:
    """Protocol section 11, and private messages."""

    async def test_broker_that_is_away_acknowledges_nothing(
        self, gateway: Gateway, alice: Credentials
    ) -> None:
        """Design section 3: error 100."""
        peer = await gateway.connect(alice)
        gateway.broker.down = BrokerUnavailable()

        with pytest.raises(ReplyError) as caught:
            await gateway.node.publish(peer.connection, alice, "news", raw(1), subscribed=False)

        assert caught.value.code == ErrorCode.INTERNAL

    async def test_publication_is_checked_before_it_is_published(
        self, gateway: Gateway, alice: Credentials
    ) -> None:
        """A refused one reaches nobody."""
        peer = await gateway.connect(alice)
        for channel, data in (("news", Raw()), ("news", Raw(b"1e999")), ("staff:1", raw(1))):
            with pytest.raises(ReplyError):
                await gateway.node.publish(peer.connection, alice, channel, data, subscribed=True)

        assert not any(kind == "publish" for kind, _ in gateway.broker.requests)

    async def test_deliveries_are_counted(
        self, gateway: Gateway, alice: Credentials, bob: Credentials
    ) -> None:
        """One for each receiver; none for a channel that nobody is in."""
        for who in (alice, alice, bob):
            await gateway.connect(who)

        gateway.publish("dm:#alice", 1)
        gateway.publish("news", 1)

        assert gateway.node.metrics.messages_sent == 2


class TestCall:
    """Hooks, or none."""

    async def test_without_hooks_every_method_is_108(
        self, gateway: Gateway, alice: Credentials
    ) -> None:
        """Design section 2."""
        peer = await gateway.connect(alice)

        with pytest.raises(ReplyError) as caught:
            await gateway.node.call(peer.connection, alice, "echo", Raw())

        assert caught.value.code == ErrorCode.NOT_AVAILABLE

    async def test_hook_sees_who_calls_and_no_token(
        self, make_gateway: Callable[..., Gateway], alice: Credentials, bob: Credentials
    ) -> None:
        """User, connection, scopes, and what the token says of the user."""
        callers: list[Caller] = []
        hooks = Hooks()
        hooks.rpc("who")(lambda caller, _data: callers.append(caller))
        gateway = make_gateway(hooks=hooks)
        for who in (alice, bob):
            peer = await gateway.connect(who)
            await gateway.node.call(peer.connection, who, "who", Raw())

        assert [(caller.user, caller.info) for caller in callers] == [
            ("alice", {"name": "Alice"}),
            ("bob", None),
        ]
        assert callers[0].client != callers[1].client
        assert callers[1].scopes == {"connect"}

    @pytest.mark.parametrize("data", [b"1e999", b'"\\ud800"', b"[" * 5000 + b"]" * 5000])
    async def test_bad_argument_is_107(
        self, make_gateway: Callable[..., Gateway], alice: Credentials, data: bytes
    ) -> None:
        """Before the hook is asked."""
        gateway = make_gateway(hooks=Hooks())
        peer = await gateway.connect(alice)

        with pytest.raises(ReplyError) as caught:
            await gateway.node.call(peer.connection, alice, "echo", Raw(data))

        assert caught.value.code == ErrorCode.BAD_REQUEST


class Pauses:
    """Stands for the pauses of a drain: notes them, and lets something happen in each."""

    def __init__(self, during: Callable[[], object] = lambda: None) -> None:
        self.lengths: list[float] = []
        self.during = during

    async def __call__(self, seconds: float, _hurry: asyncio.Event | None) -> None:
        """See ``node._pause``."""
        self.lengths.append(seconds)
        self.during()
        await settle()


@pytest.fixture
def pauses(monkeypatch: pytest.MonkeyPatch) -> Pauses:
    """A drain that takes no time."""
    replaced = Pauses()
    monkeypatch.setattr("ws_gateway.node._pause", replaced)
    return replaced


def open_peers(gateway: Gateway, count: int) -> list[Peer]:
    """Open a crowd."""
    return [gateway.open() for _ in range(count)]


class TestDrain:
    """3001 in paced batches, so that the others are not overrun (design section 3)."""

    async def test_not_ready_while_draining(self, gateway: Gateway, pauses: Pauses) -> None:
        """New handshakes are refused from the first moment."""
        open_peers(gateway, 1)
        ready: list[bool] = []
        pauses.during = lambda: ready.append(gateway.node.ready)

        await gateway.node.drain(1)

        assert ready == [False]
        assert gateway.node.draining

    async def test_everybody_is_told_3001(self, gateway: Gateway) -> None:
        """At once where no time is given, and without a pause."""
        peers = open_peers(gateway, 5)

        await gateway.node.drain(0)

        assert [peer.closed for peer in peers] == [3001] * 5
        assert gateway.node.metrics.disconnects == {3001: 5}

    async def test_what_is_queued_is_flushed_first(
        self, gateway: Gateway, alice: Credentials
    ) -> None:
        """Nothing that was accepted for delivery is lost."""
        peer = await gateway.connect(alice)
        gateway.publish("dm:#alice", "last")

        await gateway.node.drain(0)

        assert b'"last"' in peer.transport.writes[-1]
        assert peer.closed == 3001

    async def test_batches_are_even_and_fit_the_time(
        self, gateway: Gateway, pauses: Pauses
    ) -> None:
        """100 connections in two seconds of 20 steps each are three at a time."""
        peers = open_peers(gateway, 100)
        open_now: list[int] = []
        pauses.during = lambda: open_now.append(sum(peer.closed is None for peer in peers))

        await gateway.node.drain(2)

        steps = [before - after for before, after in zip([100, *open_now], open_now, strict=False)]
        assert set(steps[:-1]) == {3}
        assert sum(pauses.lengths) <= 2
        assert open_now[-1] == 0

    async def test_hurry_sends_the_rest_at_once(self, gateway: Gateway, pauses: Pauses) -> None:
        """A second SIGTERM."""
        peers = open_peers(gateway, 50)
        hurry = asyncio.Event()
        pauses.during = hurry.set

        await gateway.node.drain(30, hurry)

        assert len(pauses.lengths) == 1
        assert all(peer.closed == 3001 for peer in peers)

    async def test_hurry_ends_a_pause(self, gateway: Gateway) -> None:
        """It is not waited out."""
        open_peers(gateway, 3)
        hurry = asyncio.Event()
        draining = asyncio.create_task(gateway.node.drain(1e9, hurry))
        await settle()

        hurry.set()

        await draining

    async def test_one_that_leaves_meanwhile_is_not_told(
        self, gateway: Gateway, pauses: Pauses
    ) -> None:
        """Nor counted twice."""
        peers = open_peers(gateway, 2)

        def leave() -> None:
            for peer in peers:
                if peer.closed is None:
                    peer.connection.lost(1000)

        pauses.during = leave

        await gateway.node.drain(10)

        assert sorted(map(str, (peer.closed for peer in peers))) == ["3001", "None"]
        assert gateway.node.metrics.disconnects == {3001: 1, 1000: 1}

    async def test_one_that_joins_meanwhile_is_told_too(
        self, gateway: Gateway, pauses: Pauses, alice: Credentials
    ) -> None:
        """Its handshake was on its way when the drain began: no close without a code."""
        open_peers(gateway, 2)
        late: list[Peer] = []
        pauses.during = lambda: late.append(gateway.open(alice))

        await gateway.node.drain(10)
        await settle()

        assert [peer.closed for peer in late] == [3001] * 2

    async def test_one_that_joins_afterwards_is_told_too(
        self, gateway: Gateway, alice: Credentials
    ) -> None:
        """The process has not exited yet."""
        await gateway.node.drain(0)

        peer = gateway.open(alice)
        peer.send({"id": 1, "connect": {}})
        await settle()

        assert peer.closed == 3001

    async def test_drain_of_nobody_ends_at_once(self, gateway: Gateway, pauses: Pauses) -> None:
        """Whatever the time it was given."""
        await gateway.node.drain(30)

        assert pauses.lengths == []


class TestLife:
    """From start to stop."""

    async def test_start_takes_publications_from_the_broker(
        self, gateway: Gateway, alice: Credentials
    ) -> None:
        """And makes it ready."""
        gateway.broker._handler = None
        before = gateway.node.ready

        await gateway.node.start()
        peer = await gateway.connect(alice)
        await gateway.broker.publish("dm:#alice", Publication(data=raw(1)))

        assert (before, gateway.node.ready) == (False, True)
        assert (await peer.receive())[0]["push"]["pub"]["data"] == 1

    async def test_stop_gives_up_everything(
        self, make_gateway: Callable[..., Gateway], alice: Credentials
    ) -> None:
        """Sockets are closed with a code, the broker and the timers stopped."""
        gateway = make_gateway(hooks=Hooks())
        peers = [await gateway.connect(alice), gateway.open()]

        await gateway.node.stop()

        assert [peer.closed for peer in peers] == [3001, 3001]
        assert not gateway.broker.ready()
        assert gateway.loop.alarms == []

    async def test_gauges_read_what_is(self, gateway: Gateway, alice: Credentials) -> None:
        """The autoscaler's is ``gateway_connections``."""
        await gateway.connect(alice)
        peer = await gateway.connect(alice)
        await peer.ask({"id": 2, "subscribe": {"channel": "news"}})

        gauges: dict[str, Any] = {
            name: read() for name, (_, read) in gateway.node.metrics.gauges.items()
        }

        assert gauges == {
            "gateway_connections": 2,
            "gateway_subscriptions_active": 3,
            "gateway_channels_active": 2,
            "gateway_draining": False,
        }

    async def test_leaving_twice_is_leaving_once(self, gateway: Gateway) -> None:
        """A member the node no longer knows has nothing to give up."""
        peer = gateway.open()
        gateway.node.leave(peer.connection, [])

        gateway.node.leave(peer.connection, ["news"])

        assert not gateway.node._members
        peer.connection.disconnect(DisconnectCode.NORMAL)

    @pytest.mark.parametrize(("channel", "code"), [("news", 108), ("nowhere:1", 102), ("é", 107)])
    async def test_feature_that_no_namespace_has_is_108(
        self, gateway: Gateway, channel: str, code: int
    ) -> None:
        """Protocol section 4, step 6; the name is looked at first."""
        with pytest.raises(ReplyError) as caught:
            gateway.node.check_feature(channel)

        assert caught.value.code == code

    async def test_connect_reply_names_the_node(self, gateway: Gateway, alice: Credentials) -> None:
        """One name for all its connections."""
        peers = [gateway.open(alice) for _ in range(2)]
        replies = [(await peer.ask({"id": 1, "connect": {}}))[0]["connect"] for peer in peers]

        assert {reply["node"] for reply in replies} == {gateway.node.id}
        assert len({reply["client"] for reply in replies}) == 2
