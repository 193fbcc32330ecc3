"""The contract suite: every presence keeps what ``Presence`` promises; its words are quoted here.

An implementation joins by a line in ``PRESENCES``.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest

from tests.redis_cluster import RedisCluster
from tests.ws_gateway.broker.conftest import Proxy
from tests.ws_gateway.presence.conftest import ALICE, ALICE_AGAIN, BOB, Process
from ws_gateway.presence.base import Presence, Stats
from ws_gateway.presence.memory import MemoryPresence
from ws_gateway.protocol.messages import ClientInfo
from ws_gateway.redis_link import Timing

NOW = 1_900_000_000.0


class Clock:
    """A wall clock that is moved by hand."""

    def __init__(self) -> None:
        self.now = NOW

    def __call__(self) -> float:
        """Tell the time."""
        return self.now


class Memory:
    """The embedded presence, started and stopped as a process with Redis is."""

    def __init__(self, **options: Any) -> None:  # noqa: ANN401 - its own
        self.presence = MemoryPresence(**options)

    async def start(self) -> None:
        """Begin."""
        await self.presence.start()

    async def stop(self) -> None:
        """End."""
        await self.presence.stop()


Make = Callable[..., Memory | Process]


def _redis(request: pytest.FixtureRequest, **options: Any) -> Process:  # noqa: ANN401
    return Process(request.getfixturevalue("redis_server").url, **options)


def _cluster(request: pytest.FixtureRequest, **options: Any) -> Process:  # noqa: ANN401
    cluster: RedisCluster = request.getfixturevalue("redis_cluster")
    return Process(cluster.url, timing=Timing(), **options)


def _in_pieces(request: pytest.FixtureRequest, **options: Any) -> Process:  # noqa: ANN401
    proxy: Proxy = request.getfixturevalue("proxy")
    proxy.delay, proxy.split = 0.0001, True
    return Process(proxy.url, timing=Timing(), **options)


PRESENCES: dict[str, Make] = {
    "memory": lambda _request, **options: Memory(**options),
    "redis": _redis,
    "redis-cluster": _cluster,
    "redis-in-pieces": _in_pieces,
}


@pytest.fixture
def clock() -> Clock:
    """What time it is for the presence."""
    return Clock()


@pytest.fixture(params=list(PRESENCES))
def process(request: pytest.FixtureRequest, clock: Clock) -> Memory | Process:
    """Each implementation, not yet started; it remembers two users."""
    return PRESENCES[request.param](request, users=2, clock=clock)


@pytest.fixture
async def presence(process: Memory | Process) -> AsyncIterator[Presence]:
    """The same, started."""
    await process.start()
    yield process.presence
    await process.stop()


class TestMembers:
    """Promise: "List who is in a channel, by connection"."""

    async def test_nobody_is_in_a_channel_at_first(self, presence: Presence) -> None:
        """An empty channel is no error."""
        assert await presence.members("room", 10) == {}
        assert await presence.stats("room") == Stats(clients=0, users=0)

    async def test_entry_says_what_was_said(self, presence: Presence) -> None:
        """Every part of it, and what is absent stays absent."""
        for info in (ALICE, ALICE_AGAIN, BOB):
            presence.add("room", info)

        assert await presence.members("room", 10) == {
            info.client: info for info in (ALICE, ALICE_AGAIN, BOB)
        }

    async def test_what_was_just_said_is_in_it(self, presence: Presence) -> None:
        """Promise: "What this process has said before is in it"; nothing is awaited between."""
        for count in range(1, 4):
            presence.add("room", ClientInfo(user="u", client=f"c-{count}"))
            assert len(await presence.members("room", 10) or {}) == count
            presence.remove("room", "c-1")
            presence.add("room", ClientInfo(user="u", client="c-1"))
        presence.remove("room", "c-2")

        assert set(await presence.members("room", 10) or {}) == {"c-1", "c-3"}

    async def test_saying_it_anew_replaces_it(self, presence: Presence) -> None:
        """Also where the user is another, who is counted then."""
        presence.add("room", ALICE)
        await presence.stats("room")
        changed = ClientInfo(user="carol", client=ALICE.client)
        presence.add("room", changed)

        assert await presence.members("room", 10) == {changed.client: changed}
        assert await presence.stats("room") == Stats(clients=1, users=1)
        assert len(presence) == 1

    async def test_channels_are_apart(self, presence: Presence) -> None:
        """Also those whose names have braces, or are part of each other."""
        names = ["room", "room:1", "{room}", "a}b{c", "room}"]
        for number, name in enumerate(names):
            presence.add(name, ClientInfo(user="u", client=f"c-{number}"))

        for number, name in enumerate(names):
            assert set(await presence.members(name, 10) or {}) == {f"c-{number}"}

    async def test_more_than_the_limit_are_not_listed(self, presence: Presence) -> None:
        """Promise: "None if there are more than ``limit``"; one that is full is listed."""
        presence.add("room", ALICE)
        presence.add("room", BOB)

        assert await presence.members("room", 1) is None
        assert len(await presence.members("room", 2) or {}) == 2

    async def test_removed_is_gone(self, presence: Presence) -> None:
        """Promise: "Say that it is there no more, if it was"."""
        presence.add("room", ALICE)
        presence.add("room", BOB)
        await presence.stats("room")

        presence.remove("room", ALICE.client)
        presence.remove("room", ALICE.client)
        presence.remove("elsewhere", BOB.client)

        assert await presence.members("room", 10) == {BOB.client: BOB}
        assert len(presence) == 1

    async def test_nothing_remains_of_the_last(self, presence: Presence) -> None:
        """A channel that nobody is in any more is forgotten."""
        presence.add("room", ALICE)
        presence.remove("room", ALICE.client)

        assert await presence.stats("room") == Stats(0, 0)
        assert len(presence) == 0

    @pytest.mark.parametrize("user", ["", "ümlaut\n", "x" * 5000, "00ff"])
    async def test_any_user_can_be_there(self, presence: Presence, user: str) -> None:
        """Guests have no name, and other issuers give names of any kind."""
        info = ClientInfo(user=user, client="c-1")
        presence.add("room", info)

        assert await presence.members("room", 10) == {"c-1": info}
        assert await presence.stats("room") == Stats(clients=1, users=1)


class TestStats:
    """Promise: "Count who is in a channel, however many there are"."""

    async def test_the_same_user_twice_is_one(self, presence: Presence) -> None:
        """Until his last connection has gone."""
        for info in (ALICE, ALICE_AGAIN, BOB):
            presence.add("room", info)
        assert await presence.stats("room") == Stats(clients=3, users=2)

        presence.remove("room", ALICE.client)
        assert await presence.stats("room") == Stats(clients=2, users=2)
        presence.remove("room", ALICE_AGAIN.client)
        assert await presence.stats("room") == Stats(clients=1, users=1)

    async def test_many(self, presence: Presence) -> None:
        """More than one batch, in one channel and in as many."""
        for number in range(600):
            presence.add("room", ClientInfo(user=f"u-{number % 7}", client=f"c-{number}"))
            presence.add(f"room-{number}", ClientInfo(user="u", client=f"c-{number}"))

        assert await presence.stats("room") == Stats(clients=600, users=7)
        assert await presence.stats("room-599") == Stats(clients=1, users=1)
        assert await presence.members("room", 599) is None
        assert len(presence) == 1200
        for number in range(600):
            presence.remove("room", f"c-{number}")
            presence.remove(f"room-{number}", f"c-{number}")
        assert await presence.stats("room") == Stats(0, 0)
        assert await presence.stats("room-0") == Stats(0, 0)


class TestLastSeen:
    """Promise: "Return when a user was last connected, as Unix time: now if he is"."""

    async def test_who_was_never_here_is_not_known(self, presence: Presence) -> None:
        """None, no error."""
        assert await presence.last_seen("alice") is None

    async def test_who_is_here_is_seen_now(self, presence: Presence, clock: Clock) -> None:
        """However long ago he came."""
        presence.arrive("alice")
        clock.now += 10_000

        assert await presence.last_seen("alice") == clock.now

    async def test_who_has_gone_was_seen_then(self, presence: Presence, clock: Clock) -> None:
        """With his last connection, not with the first that ended."""
        presence.arrive("alice")
        presence.arrive("alice")
        clock.now += 10
        presence.depart("alice")
        assert await presence.last_seen("alice") == NOW + 10
        clock.now += 10
        presence.depart("alice")
        clock.now += 10

        assert await presence.last_seen("alice") == NOW + 20

    async def test_who_comes_back_is_seen_now(self, presence: Presence, clock: Clock) -> None:
        """What was remembered does not count then."""
        presence.arrive("alice")
        presence.depart("alice")
        clock.now += 10
        presence.arrive("alice")

        assert await presence.last_seen("alice") == NOW + 10

    async def test_departure_without_arrival_changes_nothing(self, presence: Presence) -> None:
        """It would be a fault elsewhere, and must not make another's count wrong."""
        presence.depart("alice")
        presence.arrive("alice")
        presence.depart("alice")

        assert await presence.last_seen("alice") == NOW
