"""The server API with both of ``cent``'s clients, against three gateways over one Redis."""

from __future__ import annotations

import asyncio
import contextlib
import inspect
import json
import time
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path
from typing import Any

import httpx2
import pytest
from cent import (
    AsyncClient,
    BatchRequest,
    BroadcastRequest,
    CentApiResponseError,
    CentTransportError,
    CentUnauthorizedError,
    ChannelOptionsOverride,
    ChannelsRequest,
    Client,
    Disconnect,
    DisconnectRequest,
    HistoryRemoveRequest,
    HistoryRequest,
    InfoRequest,
    PresenceRequest,
    PresenceStatsRequest,
    PublishRequest,
    RefreshRequest,
    StreamPosition,
    SubscribeRequest,
    UnsubscribeRequest,
)
from centrifuge import Client as SDKClient, StreamPosition as SDKPosition, SubscriptionEventHandler
from websockets.asyncio.client import ClientConnection

from tests.integration.embedded import ask, close_code, tell
from tests.integration.gateways import Gateway, Issuer
from tests.integration.test_schemathesis import run
from tests.redis_server import RedisServer

pytestmark = pytest.mark.integration

KEY = "the key of the server API, in 40 letters".replace(" ", "-")
SERVICE = {"sub": "client:shop", "client_id": "shop", "scope": "api"}


@pytest.fixture(scope="module")
def issuer() -> Iterator[Issuer]:
    """Whose tokens count."""
    issuer = Issuer()
    yield issuer
    issuer.stop()


@pytest.fixture(scope="module")
def redis(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RedisServer]:
    """Between the gateways."""
    server = RedisServer(tmp_path_factory.mktemp("redis")).start()
    yield server
    server.kill()


@pytest.fixture(scope="module")
def gateways(
    tmp_path_factory: pytest.TempPathFactory, issuer: Issuer, redis: RedisServer
) -> Iterator[list[Gateway]]:
    """Three of them, of which any takes commands."""
    (entry,) = json.loads(issuer.setting)
    settings = {
        "GATEWAY_REDIS_URL": redis.url,
        "GATEWAY_API_KEY": KEY,
        "GATEWAY_ISSUERS": json.dumps([entry | {"api_scope": "api"}]),
        "GATEWAY_API_PUBLIC": "1",
        # A loaded machine is slow, and nothing here waits for it in vain.
        "GATEWAY_API_TIMEOUT_SECONDS": "20",
    }
    with contextlib.ExitStack() as stack:
        found = []
        for _ in range(3):
            gateway = Gateway(tmp_path_factory.mktemp("gateway"), issuer, settings)
            stack.callback(gateway.start().stop)
            found.append(gateway)
        for gateway in found:
            asyncio.run(gateway.ready())
        _wait_for_each_other(found)
        yield found


def _wait_for_each_other(gateways: list[Gateway]) -> None:
    deadline = time.monotonic() + 30
    while True:
        with contextlib.suppress(CentApiResponseError):
            if len(Client(gateways[0].api_url, KEY).info(InfoRequest()).nodes) == len(gateways):
                return
        assert time.monotonic() < deadline
        time.sleep(0.05)


class Backend:
    """One of the two clients, called the same way."""

    def __init__(self, client: Client | AsyncClient) -> None:
        self._client = client

    def __getattr__(self, method: str) -> Callable[[Any], Any]:
        async def call(request: Any) -> Any:  # noqa: ANN401
            asked = getattr(self._client, method)
            if inspect.iscoroutinefunction(asked):
                return await asked(request)
            # The blocking one must not hold up the sockets of the test.
            return await asyncio.to_thread(asked, request)

        return call


@pytest.fixture(params=["sync", "async"])
async def backend(
    request: pytest.FixtureRequest, gateways: list[Gateway]
) -> AsyncIterator[Backend]:
    """A backend that asks the first gateway."""
    if request.param == "sync":
        yield Backend(Client(gateways[0].api_url, KEY, timeout=30))
        return
    client = AsyncClient(gateways[0].api_url, KEY, timeout=30)
    yield Backend(client)
    await client.close()


async def connected(socket: ClientConnection, channel: str = "") -> str:
    """Connect, and enter a channel perhaps; returns the connection's id."""
    reply = await ask(socket, id=1, connect={})
    if channel:
        entered = await ask(socket, id=2, subscribe={"channel": channel})
        assert "subscribe" in entered, entered
    return str(reply["connect"]["client"])


async def publication(socket: ClientConnection) -> Any:  # noqa: ANN401 - any JSON
    """Return the next publication's data."""
    while "pub" not in (push := (await tell(socket)).get("push", {})):
        pass
    return push["pub"]["data"]


async def test_a_disconnect_closes_a_user_everywhere(
    backend: Backend, gateways: list[Gateway]
) -> None:
    """All his connections on every gateway, no other's; when it returns, it is done."""
    async with contextlib.AsyncExitStack() as stack:
        sockets = [
            await stack.enter_async_context(gateway.client("alice"))
            for gateway in gateways
            for _ in range(2)
        ]
        bob = await stack.enter_async_context(gateways[1].client("bob"))
        ids = [await connected(socket) for socket in (*sockets, bob)]
        kept = ids[-2]

        await backend.disconnect(
            DisconnectRequest(
                user="alice", whitelist=[kept], disconnect=Disconnect(code=4100, reason="moved")
            )
        )
        assert [await close_code(socket) for socket in sockets[:-1]] == [4100] * 5
        await backend.disconnect(DisconnectRequest(user="alice", client=kept))

        assert await close_code(sockets[-1]) == 3503
        assert "subscribe" in await ask(bob, id=2, subscribe={"channel": "room:a"})


async def test_a_user_is_subscribed_and_unsubscribed_everywhere(
    backend: Backend, gateways: list[Gateway]
) -> None:
    """With data, and with what he has missed; then he hears what is published anywhere."""
    channel = f"kept:{time.time_ns()}"
    first = await backend.publish(PublishRequest(channel=channel, data="missed"))
    since = StreamPosition(offset=0, epoch=first.epoch)
    async with gateways[1].client("carol") as one, gateways[2].client("carol") as two:
        for socket in (one, two):
            await connected(socket)

        await backend.subscribe(
            SubscribeRequest(user="carol", channel=channel, data={"a": 1}, recover_since=since)
        )
        begun = [(await tell(socket))["push"]["subscribe"] for socket in (one, two)]
        await backend.publish(PublishRequest(channel=channel, data="live"))
        heard = [[await publication(socket) for _ in range(2)] for socket in (one, two)]
        await backend.unsubscribe(UnsubscribeRequest(user="carol", channel=channel))
        ended = [(await tell(socket))["push"]["unsubscribe"]["code"] for socket in (one, two)]

    assert [one["data"] for one in begun] == [{"a": 1}] * 2
    assert heard == [["missed", "live"]] * 2
    assert ended == [2000, 2000]


async def test_a_refresh_ends_or_extends_connections(
    backend: Backend, gateways: list[Gateway]
) -> None:
    """Wherever they are."""
    async with gateways[1].client("dave") as one, gateways[2].client("dave") as two:
        for socket in (one, two):
            await connected(socket)

        await backend.refresh(RefreshRequest(user="dave", expire_at=int(time.time()) + 3600))
        assert "subscribe" in await ask(one, id=2, subscribe={"channel": "room:a"})
        await backend.refresh(RefreshRequest(user="dave", expired=True))

        assert [await close_code(socket) for socket in (one, two)] == [3005, 3005]


async def test_presence_history_and_channels(backend: Backend, gateways: list[Gateway]) -> None:
    """What one gateway says of all."""
    hall, kept = f"hall:{time.time_ns()}", f"kept:{time.time_ns()}"
    async with gateways[1].client("erin") as one, gateways[2].client("erin") as two:
        ids = {await connected(socket, hall) for socket in (one, two)}

        who = (await backend.presence(PresenceRequest(channel=hall))).presence
        count = await backend.presence_stats(PresenceStatsRequest(channel=hall))
        channels = (await backend.channels(ChannelsRequest(pattern=hall))).channels
        quiet = ChannelOptionsOverride()
        await backend.subscribe(SubscribeRequest(user="erin", channel=kept, override=quiet))
        for number in range(3):
            await backend.publish(PublishRequest(channel=kept, data={"n": number}, tags={"t": "1"}))

    assert who.keys() == ids
    assert {info.user for info in who.values()} == {"erin"}
    assert (count.num_clients, count.num_users) == (2, 1)
    assert channels[hall].num_clients == 2
    page = await backend.history(HistoryRequest(channel=kept, limit=2))
    last = await backend.history(HistoryRequest(channel=kept, limit=1, reverse=True))
    assert [(one.offset, one.data, one.tags) for one in page.publications] == [
        (1, {"n": 0}, {"t": "1"}),
        (2, {"n": 1}, {"t": "1"}),
    ]
    assert (last.publications[0].offset, page.offset) == (3, 3)
    await backend.history_remove(HistoryRemoveRequest(channel=kept))
    assert (await backend.history(HistoryRequest(channel=kept, limit=10))).publications == []


async def test_a_retry_is_answered_as_the_first_was(backend: Backend) -> None:
    """Whichever gateway takes it: the key is Redis's."""
    channel, key = f"kept:{time.time_ns()}", str(time.time_ns())

    request = PublishRequest(channel=channel, data=1, idempotency_key=key)
    both = [await backend.publish(request) for _ in range(2)]
    broadcast = await backend.broadcast(
        BroadcastRequest(channels=[channel, "nowhere:1"], data=1, idempotency_key=key)
    )

    assert both[0] == both[1]
    repeated, refused = broadcast.responses
    assert repeated.result == both[0]
    assert refused.error is not None
    assert refused.error.code == 102


async def test_versions_beyond_a_double_are_compared_whole(gateways: list[Gateway]) -> None:
    """Nanoseconds make good versions; in Redis Lua compares them as digits."""
    channel, version = f"kept:{time.time_ns()}", 2**60
    client = Client(gateways[0].api_url, KEY)
    for each in (version, version - 1, version, version + 1):
        request = PublishRequest(channel=channel, data=each)
        await asyncio.to_thread(client.publish, request.model_copy(update={"version": each}))

    history = await asyncio.to_thread(client.history, HistoryRequest(channel=channel, limit=9))

    assert [one.data for one in history.publications] == [version, version + 1]


async def test_an_sdk_begins_where_its_backend_s_state_ends(gateways: list[Gateway]) -> None:
    """``get_state`` reads the position here, and what is published after it is recovered."""
    channel = f"kept:{time.time_ns()}"
    backend = Backend(Client(gateways[0].api_url, KEY))
    await backend.publish(PublishRequest(channel=channel, data="in the state"))
    heard: asyncio.Queue[Any] = asyncio.Queue()

    class Events(SubscriptionEventHandler):  # type: ignore[misc]  # the SDK has no annotations
        async def on_publication(self, ctx: Any) -> None:  # noqa: ANN401
            heard.put_nowait(ctx.pub.data)

    async def get_state(name: str) -> SDKPosition:
        history = await backend.history(HistoryRequest(channel=name, limit=0))
        await backend.publish(PublishRequest(channel=name, data="after it"))
        return SDKPosition(offset=history.offset, epoch=history.epoch)

    client = SDKClient(gateways[1].url, token=gateways[1].token("heidi"))
    subscription = client.new_subscription(channel, Events(), get_state=get_state)
    await client.connect()
    await subscription.subscribe()
    async with asyncio.timeout(30):
        first = await heard.get()
        await backend.publish(PublishRequest(channel=channel, data="live"))
        second = await heard.get()
    await client.disconnect()

    assert [first, second] == ["after it", "live"]


async def test_info_and_batch(backend: Backend, gateways: list[Gateway]) -> None:
    """All nodes, and several commands in one request."""
    nodes = (await backend.info(InfoRequest())).nodes
    batch = BatchRequest(
        requests=[
            PublishRequest(channel="room:a", data=1),
            PresenceStatsRequest(channel="hall:nobody"),
            InfoRequest(),
        ],
        parallel=True,
    )
    replies = (await backend.batch(batch)).replies

    assert len({node.uid for node in nodes}) == len(gateways)
    assert all(node.process and node.process.rss > 1_000_000 for node in nodes)
    assert replies[1].num_clients == 0
    assert len(replies[2].nodes) == len(gateways)


async def test_errors_are_the_client_s_own(backend: Backend) -> None:
    """With their codes."""
    with pytest.raises(CentApiResponseError, match="unknown channel") as raised:
        await backend.publish(PublishRequest(channel="undefined_channel:123", data={}))
    assert raised.value.code == 102
    with pytest.raises(CentApiResponseError) as raised:
        await backend.presence(PresenceRequest(channel="room:a"))
    assert raised.value.code == 108


async def test_ten_thousand_channels_in_one_broadcast(gateways: list[Gateway]) -> None:
    """Each is answered in its place, and subscribers elsewhere hear theirs."""
    channels = [f"room:{number}" for number in range(10_000)]
    client = Client(gateways[0].api_url, KEY, timeout=60)
    async with gateways[2].client("frank") as socket:
        await connected(socket, channels[-1])
        done = await asyncio.to_thread(
            client.broadcast, BroadcastRequest(channels=channels, data="all")
        )
        heard = await publication(socket)

    assert len(done.responses) == 10_000
    assert all(one.error is None for one in done.responses)
    assert heard == "all"


def test_who_may_not_is_refused(gateways: list[Gateway], issuer: Issuer) -> None:
    """A wrong key; a user's token, also with the scope; a service's is good."""
    with pytest.raises(CentUnauthorizedError):
        Client(gateways[0].api_url, "wrong").info(InfoRequest())
    url = f"{gateways[0].api_url}/info"

    def status(token: str) -> int:
        bearer = {"Authorization": f"Bearer {token}"}
        return httpx2.post(url, headers=bearer, trust_env=False).status_code

    assert status(issuer.token("alice")) == 403
    assert status(issuer.token("alice", scope="connect api")) == 403
    assert status(issuer.token("", **SERVICE)) == 200
    assert status("nonsense") == 401
    unreadable = HistoryRequest(channel="kept:a", limit=2**40)
    with pytest.raises(CentTransportError):
        Client(gateways[0].api_url, KEY).history(unreadable)


def test_a_body_that_is_too_long_is_refused_and_the_next_is_taken(
    gateways: list[Gateway],
) -> None:
    """413, which the client gets to read, and the API goes on."""
    headers = {"X-API-Key": KEY}
    with httpx2.Client(base_url=gateways[0].api_url, headers=headers, trust_env=False) as http:
        longer = http.post("/publish", content=b" " * 5_000_000)
        fits = http.post("/publish", json={"channel": "room:a", "data": 1})

    assert (longer.status_code, fits.status_code) == (413, 200)


def test_it_is_on_the_public_port_where_that_is_wished(gateways: list[Gateway]) -> None:
    """The same, with the same key."""
    client = Client(gateways[0].public_url + "/api", KEY)

    assert len(client.info(InfoRequest()).nodes) == len(gateways)


async def test_a_connection_on_another_gateway_is_explained(gateways: list[Gateway]) -> None:
    """While it is there, and when it has gone; nothing of its token is said."""
    headers = {"X-API-Key": KEY}
    async with httpx2.AsyncClient(
        base_url=gateways[0].api_url, headers=headers, trust_env=False
    ) as operator:
        token = gateways[2].token("grace")
        async with gateways[2].client_with(token) as socket:
            client = await connected(socket, f"kept:{time.time_ns()}")
            listed = (await operator.get("/connections", params={"user": "grace"})).json()
            shown = await operator.get(f"/connections/{client}")
            await operator.post("/disconnect", json={"user": "grace"})
            assert await close_code(socket) == 3503
        closes = (await operator.get("/closes", params={"user": "grace"})).json()

    assert [one["client"] for one in listed["connections"]] == [client]
    assert listed["complete"]
    assert shown.json()["claims"]["client_id"] == "chat"
    assert [(one["client"], one["code"]) for one in closes["closes"]] == [(client, 3503)]
    assert not [part for part in token.split(".") if part in shown.text]


@pytest.mark.timeout(180)
def test_nothing_is_found_that_is_not_documented(gateways: list[Gateway], tmp_path: Path) -> None:
    """Schemathesis on the internal port, for whoever has the key."""
    internal = gateways[0].api_url.removesuffix("/api")
    document = tmp_path / "openapi.json"
    document.write_text(httpx2.get(f"{internal}/openapi.json", trust_env=False).text, "utf-8")

    run(str(document), "-u", internal, "-H", f"X-API-Key: {KEY}", examples=3)
    run(str(document), "-u", internal, "--include-path-regex", "^/api/(info|closes)$", examples=2)
