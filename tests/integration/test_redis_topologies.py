"""A gateway and the token service's publisher over every kind of Redis, behind TLS and its users.

Each kind is started once; what moves its slots or kills its servers comes last.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator, Iterable, Iterator
from pathlib import Path
from typing import Any

import httpx2
import pytest
from websockets.asyncio.client import ClientConnection
from websockets.exceptions import InvalidStatus

from auth_service.revocation_publisher import STREAM
from tests.integration.gateways import CHANNELS, Gateway, Issuer
from tests.integration.revocation_log import Log, publishing
from tests.redis_guard import GATEWAY, PUBLISHER
from tests.redis_topologies import KINDS, GuardedRedis
from tests.ws_gateway.broker.conftest import until
from tests.ws_gateway.broker.process import KEPT, running
from ws_gateway.broker.base import PublishOptions

pytestmark = pytest.mark.integration

OTHER = "other-gateway"
KEY = "the-key-of-the-server-API-in-forty-letters"
PATIENCE_SECONDS = 60
"""Only a failing test waits for so long."""
BRIEF = PublishOptions(history_size=5, history_ttl=600)
MORE_CHANNELS = """
[namespaces.brief]
allow_subscribe_for_client = true
history_size = 5
history_ttl = "300s"
force_recovery = true

[namespaces.patched]
allow_subscribe_for_client = true
allow_publish_for_subscriber = true
allow_history_for_subscriber = true
history_size = 10
history_ttl = "300s"
force_recovery = true
allowed_delta_types = ["fossil"]
delta_publish = true
"""


class World:
    """One kind of Redis, and a gateway.

    Args:
        kind: Of Redis.
        directory: For all files.
        issuer: Whose tokens count.
    """

    def __init__(self, kind: str, directory: Path, issuer: Issuer) -> None:
        (directory / "redis").mkdir()
        self.redis = GuardedRedis(kind, directory / "redis", OTHER)
        (entry,) = json.loads(issuer.setting)
        channels = directory / "all-channels.toml"
        channels.write_text(CHANNELS + MORE_CHANNELS)
        settings = {
            "GATEWAY_REDIS_URL": self.redis.url_of(GATEWAY),
            "GATEWAY_ISSUERS": json.dumps([entry | {"revocations": "redis"}]),
            "GATEWAY_CHANNELS_FILE": str(channels),
            "GATEWAY_LAST_SEEN_USERS": "100",
            "GATEWAY_API_KEY": KEY,
            "GATEWAY_API_TIMEOUT_SECONDS": "20",
        }
        self.gateway = Gateway(directory, issuer, settings)
        self.issuer = issuer

    async def api(self, method: str, **request: object) -> Any:  # noqa: ANN401 - JSON
        """Call the server API."""
        async with httpx2.AsyncClient(trust_env=False) as http:
            answer = await http.post(
                f"{self.gateway.api_url}/{method}", json=request, headers={"X-API-Key": KEY}
            )
        assert "result" in answer.json(), answer.text
        return answer.json()["result"]

    @contextlib.asynccontextmanager
    async def enter(self, user: str, **claims: object) -> AsyncIterator[Visitor]:
        """Connect a user."""
        async with self.gateway.client_with(self.issuer.token(user, **claims)) as socket:
            visitor = Visitor(socket)
            await visitor.ask(connect={})
            yield visitor


class Visitor:
    """A user's connection, and what came without having been asked for."""

    def __init__(self, socket: ClientConnection) -> None:
        self._socket = socket
        self._lines: list[str] = []
        self._id = 0
        self.pushes: list[dict[str, Any]] = []

    async def ask(self, **command: Any) -> Any:  # noqa: ANN401 - JSON
        """Send a command; returns its result, or its error's code."""
        self._id += 1
        await self._socket.send(json.dumps({"id": self._id, **command}))
        while (answer := await self._hear()) is None:
            pass
        return answer["error"]["code"] if "error" in answer else answer[next(iter(command))]

    async def heard(self, channel: str, count: int) -> list[Any]:
        """Wait until so much came in a channel; returns payloads, and the codes of ends."""
        while len(found := self._of(channel)) < count:
            assert await self._hear() is None
        return found

    async def closed(self) -> int:
        """Wait for the end; returns its code."""
        async with asyncio.timeout(PATIENCE_SECONDS):
            await self._socket.wait_closed()
        assert self._socket.close_code is not None
        return self._socket.close_code

    def _of(self, channel: str) -> list[Any]:
        pushes = [push for push in self.pushes if push.get("channel") == channel]
        return [
            push["pub"]["data"] if "pub" in push else ("end", push["unsubscribe"]["code"])
            for push in pushes
            if "pub" in push or "unsubscribe" in push
        ]

    async def _hear(self) -> Any:  # noqa: ANN401 - JSON
        """Take the next message; returns it if it is an answer."""
        while not self._lines:
            async with asyncio.timeout(PATIENCE_SECONDS):
                self._lines = str(await self._socket.recv()).split("\n")
        message = json.loads(self._lines.pop(0))
        if "push" in message:
            self.pushes.append(message["push"])
        return message if "id" in message else None


@pytest.fixture(scope="module")
def issuer() -> Iterator[Issuer]:
    """Whose tokens count."""
    issuer = Issuer()
    yield issuer
    issuer.stop()


@pytest.fixture(scope="module", params=KINDS)
def world(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory, issuer: Issuer
) -> Iterator[World]:
    """One kind of Redis, and a gateway that has found it; the revocation log is yet to come."""
    world = World(request.param, tmp_path_factory.mktemp(request.param), issuer)
    with contextlib.ExitStack() as stack:
        stack.callback(world.redis.kill)
        world.redis.start()
        stack.callback(world.gateway.start().stop)
        yield world


@pytest.fixture
async def log(world: World, tmp_path: Path) -> AsyncIterator[Log]:
    """A log that is being published, which the gateway has read."""
    async with publishing(tmp_path, world.redis.url_of(PUBLISHER)) as log:
        await world.gateway.ready(seconds=PATIENCE_SECONDS)
        yield log


async def test_the_users_of_the_documentation_may_do_all_that_is_done(
    world: World, log: Log
) -> None:
    """And are asked for nothing else: Redis has refused nothing, and heard nothing in the clear."""
    async with world.enter("alice", sid="s1") as alice, world.enter("bob") as bob:
        for channel in ("room:a", "kept:a", "hall:a"):
            for one in (alice, bob):
                assert isinstance(await one.ask(subscribe={"channel": channel}), dict)
        await bob.ask(subscribe={"channel": "patched:a", "delta": "fossil"})
        await alice.ask(subscribe={"channel": "patched:a"})
        for channel in ("room:a", "kept:a", "patched:a"):
            for number in range(2):
                text = "as long as it takes to be patched " * 4 + f"{number}"
                assert await alice.ask(publish={"channel": channel, "data": text}) == {}
            assert len(await bob.heard(channel, 2)) == 2
        assert bob.pushes[-1]["pub"]["delta"] is True
        history = await alice.ask(history={"channel": "patched:a", "limit": 10})
        assert len(history["publications"]) == 2
        for _ in range(2):
            await world.api("publish", channel="kept:a", data=1, idempotency_key="k")
        await world.api("broadcast", channels=["kept:a", "room:a"], data=2)
        assert (await bob.heard("kept:a", 4))[2:] == [1, 2]
        await world.api("history_remove", channel="kept:a")

        here = await alice.ask(presence={"channel": "hall:a"})
        assert {info["user"] for info in here["presence"].values()} == {"alice", "bob"}
        stats = await alice.ask(presence_stats={"channel": "hall:a"})
        assert stats == {"num_clients": 2, "num_users": 2}
        for user in ("alice", "nobody"):
            assert isinstance(
                await bob.ask(rpc={"method": "last_seen", "data": {"user": user}}), dict
            )

        nodes = (await world.api("info"))["nodes"]
        assert [node["num_users"] for node in nodes] == [2]
        await world.api("disconnect", user="bob")
        assert await bob.closed() == 3503
        await log.revoke("s1")
        assert await alice.closed() == 3500
    async with running(world.redis.url_of(OTHER)) as other:
        await other.broker.subscribe("room:a")
        assert await other.publish("kept:b", 1)

        assert {GATEWAY, PUBLISHER, OTHER} <= world.redis.users(tls=True)
        assert world.redis.users(tls=False) == set()
    assert world.redis.refusals() == []


async def test_a_long_outage_is_filled_from_history_and_who_missed_too_much_is_told(
    world: World,
    log: Log,  # noqa: ARG001 - the gateway is ready when it has read one
) -> None:
    """The gap comes before anything new; 2500 where one is left; nobody is disconnected."""
    kept, brief = "kept:out", "brief:out"
    subscribed: dict[str, Any] = {}
    async with (
        running(world.redis.url_of(OTHER)) as other,
        world.enter("alice") as alice,
        world.enter("bob") as bob,
    ):

        async def flood(channel: str, numbers: Iterable[int], options: PublishOptions) -> None:
            for number in numbers:
                assert await other.publish(channel, number, options)

        for channel, options in ((kept, KEPT), (brief, BRIEF)):
            for one in (alice, bob):
                subscribed = await one.ask(subscribe={"channel": channel})
            await flood(channel, range(3), options)
            await alice.heard(channel, 3)

        await asyncio.to_thread(world.redis.shut_out, GATEWAY)
        await world.gateway.ready(wanted=False)
        await flood(kept, range(3, 400), KEPT)
        await flood(brief, range(3, 20), BRIEF)
        assert await alice.ask(publish={"channel": kept, "data": "lost"}) == 100
        await until(lambda: world.redis.shut_out_times() >= 8)
        await asyncio.to_thread(world.redis.let_in, GATEWAY)
        last = 400
        while not world.gateway.readiness()[1]["broker"]:
            await flood(kept, [last], KEPT)
            last += 1
        await flood(kept, range(last, last + 10), KEPT)

        for one in (alice, bob):
            assert await one.heard(kept, last + 10) == list(range(last + 10))
            assert await one.heard(brief, 4) == [0, 1, 2, ("end", 2500)]
        position = {"recover": True, "offset": 3, "epoch": subscribed["epoch"]}
        again = await alice.ask(subscribe={"channel": brief, **position})
        assert (again["offset"], again.get("recovered", False)) == (20, False)
        await flood(brief, [20], BRIEF)
        assert await alice.heard(brief, 5) == [0, 1, 2, ("end", 2500), 20]


async def test_what_a_lost_tail_takes_along_is_told_or_said_again(world: World, log: Log) -> None:
    """The last test here. A channel that lost nothing goes on; the log is whole again."""
    redis, gateway = world.redis, world.gateway
    torn, calm = "kept:torn", "kept:calm"
    async with (
        world.enter("alice", sid="lost") as alice,
        world.enter("bob", sid="after") as bob,
        world.enter("carol") as carol,
    ):
        await asyncio.to_thread(redis.gather, STREAM.encode(), torn.encode(), calm.encode())
        epochs: dict[str, str] = {}
        for channel in (torn, calm):
            for one in (alice, bob, carol):
                epochs[channel] = (await one.ask(subscribe={"channel": channel}))["epoch"]
            for number in range(5):
                assert await carol.ask(publish={"channel": channel, "data": number}) == {}
        await asyncio.to_thread(redis.part)
        for number in range(5, 8):
            assert await carol.ask(publish={"channel": torn, "data": number}) == {}
        assert await bob.heard(torn, 8) == list(range(8))
        await log.revoke("lost")
        assert await alice.closed() == 3500

        await asyncio.to_thread(redis.lose_the_tail)
        assert await bob.heard(torn, 9) == [*range(8), ("end", 2500)]
        # Sentinels that cannot agree try again after ten seconds.
        await gateway.ready(seconds=PATIENCE_SECONDS)
        position = {"recover": True, "offset": 8, "epoch": epochs[torn]}
        again = await carol.ask(subscribe={"channel": torn, **position})
        assert (again["offset"], again.get("recovered", False)) == (5, False)
        assert again["epoch"] != epochs[torn]
        for channel in (torn, calm):
            assert await carol.ask(publish={"channel": channel, "data": 9}) == {}
        assert await bob.heard(calm, 6) == [*range(5), 9]
        assert await carol.heard(torn, 10) == [*range(8), ("end", 2500), 9]

        with pytest.raises(InvalidStatus) as refused:
            async with world.enter("alice", sid="lost"):
                pass
        assert refused.value.response.status_code == 401
        await log.revoke("after")
        assert await bob.closed() == 3500
    assert redis.survivor.ask("XLEN", STREAM) == 3  # its name, and both
    assert redis.refusals() == []
