"""``make up`` and ``make down``: nginx, two workers, gateways, PostgreSQL, Redis and Prometheus."""

from __future__ import annotations

import asyncio
import contextlib
import ipaddress
import itertools
import json
import os
import re
import signal
import socket
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import httpx2
import pytest
from centrifuge import (
    CentrifugeError,
    Client,
    ClientEventHandler,
    ConnectingContext,
    DisconnectedContext,
    PublicationContext,
    SubscriptionEventHandler,
)
from jose import jwt
from playwright.async_api import expect
from prometheus_client import CollectorRegistry, generate_latest
from typing_extensions import override
from websockets.asyncio.client import connect as websocket

from auth_service.app import open_service
from auth_service.metrics import Metrics as AuthMetrics
from auth_service.settings import Settings
from infra.canary.metrics import Metrics as CanaryMetrics
from infra.grafana.boards import BOARDS
from infra.stack import programs
from infra.stack.exceptions import StackError
from tests.integration.browser import COOKIE, Visitor, chromium, give_cookie
from tests.integration.room import Speaker, enter, hears
from tests.integration.sdk_javascript import install
from tests.integration.stack import Stack, all_ports

pytestmark = [pytest.mark.integration, pytest.mark.timeout(180)]

SOON_SECONDS = 15
HASTE = {
    "GATEWAY_DRAIN_SECONDS": "1",
    "GATEWAY_HTTP_STREAM": "1",
    "GATEWAY_SSE": "1",
    "GATEWAY_COMPRESSION": "1",
    "GATEWAY_COMPRESSION_MIN_BYTES": "64",
}

ROOM = "room:fallbacks"
SENTENCES = 8
KINDS = [("sse", False), ("http_stream", False), ("http_stream", True), ("websocket", False)]
"""Transports of the SDK, and whether in Protobuf."""
# The SDK on a request whose connection was lost: time-out, transport closed, connection closed.
LOST = (1, 2, 11)


@pytest.fixture(scope="module")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    """A stack with two gateways."""
    running = Stack(tmp_path_factory.mktemp("stack"), HASTE)
    try:
        running.up(2, LIMITS="load")
        yield running
    finally:
        assert running.order("down").returncode == 0


class Watch(ClientEventHandler):  # type: ignore[misc]
    """Notes why a connection was lost."""

    def __init__(self) -> None:
        self.codes: list[int] = []

    @override
    async def on_connecting(self, ctx: ConnectingContext) -> None:
        """Note the code; 0 is the first attempt."""
        if ctx.code:
            self.codes.append(ctx.code)

    @override
    async def on_disconnected(self, ctx: DisconnectedContext) -> None:
        """Note the code of an end; 0 is our own."""
        if ctx.code:
            self.codes.append(ctx.code)


class Member(SubscriptionEventHandler):  # type: ignore[misc]
    """Notes what is said in a room."""

    def __init__(self) -> None:
        self.heard: list[int] = []

    @override
    async def on_publication(self, ctx: PublicationContext) -> None:
        """Note it."""
        self.heard.append(ctx.pub.data["number"])


class Talker:
    """Says numbers in a room, each once, whether it was acknowledged or not.

    Attributes:
        acknowledged: Those that were.
    """

    def __init__(self, client: Client, *, pause: float) -> None:
        self.acknowledged: list[int] = []
        self._client = client
        self._pause = pause
        self._enough = False
        self._talking = asyncio.create_task(self._talk())

    async def _talk(self) -> None:
        for number in itertools.count():
            if self._enough:
                return
            with contextlib.suppress(CentrifugeError, TimeoutError):
                await self._client.publish("room:stack", {"number": number})
                self.acknowledged.append(number)
            await asyncio.sleep(self._pause)

    async def stop(self) -> None:
        """Say no more."""
        self._enough = True
        await self._talking

    async def heard_by(self, members: list[Member]) -> None:
        """Wait until these have heard everything that was acknowledged, in order and once."""
        async with asyncio.timeout(20):
            while not all(  # noqa: ASYNC110
                set(self.acknowledged) <= set(member.heard) for member in members
            ):
                await asyncio.sleep(0.01)
        for member in members:
            assert member.heard == sorted(set(member.heard))


async def join(client: Client, room: str = "room:stack") -> Member:
    """Subscribe, and wait until it is confirmed."""
    member = Member()
    subscription = client.new_subscription(room, events=member)
    await subscription.subscribe()
    await subscription.ready()
    return member


async def test_a_token_opens_a_socket_through_nginx(stack: Stack) -> None:
    """With TLS and without, the official SDK as it is."""
    token = stack.token()
    plain = f"ws://localhost:{stack.ports.plain}/connection/websocket"

    async with stack.sdk(token) as client, stack.sdk(token, url=plain) as other:
        answers = [(await one.rpc("echo", "hello")).data for one in (client, other)]

    assert answers == ["hello", "hello"]


async def test_a_room_spans_the_gateways(stack: Stack) -> None:
    """least_conn spreads the clients, and Redis carries what they say, in order."""
    tokens = [stack.token(user) for user in ("alice", "bob")]
    async with contextlib.AsyncExitStack() as exits:
        clients = [
            await exits.enter_async_context(stack.sdk(token)) for token in tokens for _ in range(4)
        ]
        members = [await join(client) for client in clients]
        spread = [
            stack.metric(stack.ports.gateway_internal(number), "gateway_connections")
            for number in (1, 2)
        ]
        for number in range(50):
            await clients[number % len(clients)].publish("room:stack", {"number": number})
        async with asyncio.timeout(10):
            while not all(len(member.heard) == 50 for member in members):  # noqa: ASYNC110
                await asyncio.sleep(0.01)

    assert sum(spread) == 8
    assert min(spread) >= 1
    assert all(sorted(member.heard) == list(range(50)) for member in members)


def test_everything_listens_on_loopback_only(stack: Stack) -> None:
    """Every socket of every process, and where it is expected."""
    listening = stack.listening()

    assert {port for _, port in listening} == all_ports(stack.ports, gateways=2)
    assert not [host for host, _ in listening if not ipaddress.ip_address(host).is_loopback]


def test_the_front_hides_what_is_internal(stack: Stack) -> None:
    """Seen from outside there is no such thing."""
    with stack.http() as http:
        for path in ("/metrics", "/health/ready", "/api/info", "/nothing"):
            assert (http.get(path).status_code, http.get(path).text) == (404, "Not Found")
        assert http.get("/.well-known/oauth-authorization-server").json()["issuer"] == stack.url


def test_the_workers_answer_for_each_other(stack: Stack) -> None:
    """A counter is the sum over both, whichever is asked, and survives one of them."""
    series = 'auth_logins_total{result="success"}'
    before = stack.metric(stack.ports.auth_internal, series)
    for _ in range(6):
        stack.token()
    told = {stack.metric(stack.ports.auth_internal, series) for _ in range(6)}
    workers = stack.processes.children("auth-service")
    os.kill(workers[0], signal.SIGKILL)
    deadline = time.monotonic() + 20
    while stack.processes.children("auth-service")[:1] in ([], workers[:1]) or (
        len(stack.processes.children("auth-service")) < 2
    ):
        assert time.monotonic() < deadline
        time.sleep(0.05)
    stack.token()

    assert told == {before + 6}
    assert stack.metric(stack.ports.auth_internal, series) == before + 7


def test_prometheus_sees_everybody(stack: Stack) -> None:
    """Every target answers, and the front and Redis through their exporters."""
    deadline = time.monotonic() + 30
    while True:
        text = stack.ask(stack.ports.prometheus, "/api/v1/targets")
        targets = json.loads(text)["data"]["activeTargets"]
        health = [(target["labels"]["job"], target["health"]) for target in targets]
        if len(health) == 8 and {state for _, state in health} == {"up"}:
            break
        assert time.monotonic() < deadline, health
        time.sleep(0.2)

    assert sorted(job for job, _ in health) == [
        *("auth-service", "front", "nginx", "postgresql", "prometheus", "redis"),
        *("ws-gateway", "ws-gateway"),
    ]
    assert stack.metric(stack.ports.nginx_exporter, "nginx_up") == 1
    assert stack.metric(stack.ports.redis_exporter, "redis_up") == 1
    assert stack.metric(stack.ports.postgresql_exporter, "pg_up") == 1


async def test_boards_and_alerts_ask_for_what_is_there(stack: Stack) -> None:
    """Prometheus understands every query, and every metric is one of a running service's."""
    asked = {
        query.expression.replace("$__rate_interval", "1m")
        .replace("$job", ".*")
        .replace("$instance", ".*")
        for board in BOARDS
        for panel in board.panels()
        for query in panel.queries
    }
    ports, url = stack.ports, f"http://127.0.0.1:{stack.ports.prometheus}"
    internal = (ports.gateway_internal(1), ports.auth_internal, ports.prometheus)
    exporters = (ports.nginx_exporter, ports.redis_exporter, ports.postgresql_exporter)
    known = {"up", "ALERTS"}
    for port in (*internal, *exporters):
        known |= families(stack.ask(port, "/metrics"))
    # The workers write down what has happened, and it may not have; what could is in the code.
    known |= families(generate_latest(AuthMetrics().registry).decode())
    # The stack has no canary.
    canary = CollectorRegistry()
    CanaryMetrics(canary, 1)
    known |= families(generate_latest(canary).decode())
    # And of its gateways nobody wants these.
    known |= {"gateway_fallback_connections", "gateway_emulation_requests_total"}
    async with httpx2.AsyncClient(base_url=url, timeout=30) as http:
        probed = await http.get(
            "/api/v1/label/__name__/values", params={"match[]": '{job="front"}'}
        )
        known |= set(probed.json()["data"])
        groups = (await http.get("/api/v1/rules")).json()["data"]["groups"]
        rules = [rule for group in groups for rule in group["rules"]]
        known |= {rule["name"] for rule in rules if rule["type"] == "recording"}
        for query in asked:
            answer = await http.get("/api/v1/query", params={"query": query})
            assert answer.json()["status"] == "success", (query, answer.text)

    assert len(rules) > 60
    assert {rule["health"] for rule in rules} <= {"ok", "unknown"}
    named = set().union(*map(metrics_in, (*asked, *(rule["query"] for rule in rules))))
    assert len(named) > 100
    assert named - known == set()


@pytest.mark.parametrize("which", ["auth_internal", "gateway"])
def test_metrics_are_well_named(stack: Stack, which: str) -> None:
    """By Prometheus' own conventions."""
    ports = stack.ports
    port = ports.auth_internal if which == "auth_internal" else ports.gateway_internal(1)

    checked = subprocess.run(  # noqa: S603 - our own command
        [programs.find("promtool"), "check", "metrics"],
        input=stack.ask(port, "/metrics"),
        capture_output=True,
        text=True,
        check=False,
    )

    assert (checked.returncode, checked.stderr) == (0, "")


def families(text: str) -> set[str]:
    """Return the names that the samples of these metrics have."""
    found: set[str] = set()
    for name, kind in re.findall(r"^# TYPE (\S+) (\S+)$", text, re.MULTILINE):
        endings = ("_bucket", "_count", "_sum") if kind == "histogram" else ("",)
        found |= {f"{name}{ending}" for ending in endings}
    return found


def metrics_in(query: str) -> set[str]:
    """Return the metrics that a query names: words that are no label, function or keyword."""
    # Without strings, windows, selectors and lists of labels.
    bare = re.sub(r'"[^"]*"|\[[^]]*\]|\{[^}]*\}|\b(?:by|on|ignoring) ?\([^)]*\)', "", query)
    words = re.findall(r"[a-zA-Z_:][\w:]*(?![\w:]*\s*\()", bare)
    keywords = {"and", "or", "unless", "by", "on", "ignoring", "bool", "offset", "group_left"}
    return {word for word in words if word not in keywords and len(word) > 1}


def test_up_again_changes_nothing_and_says_what_to_do(stack: Stack) -> None:
    """The same processes, and the lines a person needs, without passwords in a file."""
    before = stack.pids()

    said = stack.up(2, LIMITS="load")

    assert stack.pids() == before
    assert len(before) == 11
    for part in (stack.url, "TOKEN=$(curl", f"http://localhost:{stack.ports.prometheus}"):
        assert part in said
    assert not [password for password in stack.passwords.values() if password in said]
    assert stack.order("status").returncode == 0


async def test_gateways_come_and_go_under_traffic(stack: Stack) -> None:
    """1, 3, 2: whoever has to move is told so (3001); who stays misses nothing."""
    token = stack.token()
    stack.up(1, LIMITS="load")

    async with contextlib.AsyncExitStack() as exits:
        watches = [Watch() for _ in range(12)]
        clients = [await exits.enter_async_context(stack.sdk(token, watch)) for watch in watches]
        members = [await join(client) for client in clients]
        talker = Talker(clients[0], pause=0.01)
        await asyncio.to_thread(stack.up, 3, LIMITS="load")
        unmoved = [list(watch.codes) for watch in watches]
        more = [Watch() for _ in range(12)]
        others = [await exits.enter_async_context(stack.sdk(token, watch)) for watch in more]
        spread = [
            stack.metric(stack.ports.gateway_internal(number), "gateway_connections")
            for number in (1, 2, 3)
        ]
        await asyncio.to_thread(stack.up, 2, LIMITS="load")
        await talker.stop()
        await asyncio.gather(*(client.ready() for client in (*clients, *others)))
        answers = [(await client.rpc("echo", 1)).data for client in (*clients, *others)]
        after = [
            stack.metric(stack.ports.gateway_internal(number), "gateway_connections")
            for number in (1, 2)
        ]
        await talker.heard_by(members)

    codes = [code for watch in (*watches, *more) for code in watch.codes]
    assert unmoved == [[]] * 12
    assert sum(spread) == 24
    assert spread[0] >= 12  # nobody was moved,
    assert min(spread[1:]) >= 1  # and the new ones take their share
    assert codes  # some had to move,
    assert set(codes) == {3001}  # and all were told
    assert answers == [1] * 24
    assert sum(after) == 24
    assert len(talker.acknowledged) > 100
    assert [watch.codes for watch in watches] == [[]] * 12


def test_no_secret_is_in_any_file_of_the_stack(stack: Stack) -> None:
    """Logs, configuration, metrics: neither a token nor a password."""
    token = stack.token("bob")
    with stack.http() as http:
        http.get(f"/connection/websocket?access_token={token}")
        http.get("/users/me", headers={"Authorization": f"Bearer {token}"})
        http.get(f"/{token}")
    secrets = {*token.split(".")[1:], *stack.passwords.values()}

    files = [path for path in (stack.local / "stack").rglob("*") if path.is_file()]
    guilty = [
        path for path in files if any(secret.encode() in path.read_bytes() for secret in secrets)
    ]

    assert len([path for path in files if path.suffix == ".log"]) >= 8
    assert guilty == []


def counted(stack: Stack, gateway: int, name: str) -> float:
    """Read a series of a gateway; 0 if there is none yet."""
    try:
        return stack.metric(stack.ports.gateway_internal(gateway), name)
    except LookupError:
        return 0


def place(stack: Stack, token: str, kind: str, protobuf: bool) -> dict[str, object]:
    """Return what a participant with one kind of transport is told."""
    origin = stack.url.replace("http", "ws") if kind == "websocket" else stack.url
    return {
        "url": [{"transport": kind, "endpoint": f"{origin}/connection/{kind}"}],
        "token": token,
        "channel": ROOM,
        "protobuf": protobuf,
    }


async def everybody_talks(speakers: list[Speaker]) -> None:
    """Let all say some sentences at the same time."""
    await asyncio.gather(*(speaker.say(SENTENCES) for speaker in speakers))


async def test_the_sdk_talks_on_when_gateways_are_killed(stack: Stack) -> None:
    """In every transport and encoding, what was acknowledged once, in one order, without a gap.

    Requests reach both gateways, whichever has the connection. No token and no session is in any
    log afterwards, though one of the transports has a token in its URL.
    """
    sse = 'gateway_fallback_connections{transport="sse"}'
    token = stack.token()
    session = "return participant.client._session"
    try:
        await asyncio.to_thread(install)
        async with chromium() as browser:
            context = await browser.new_context(ignore_https_errors=True, bypass_csp=True)
            page = await context.new_page()
            await page.goto(f"{stack.url}/login")
            people = [
                await enter(page, f"{number}", place(stack, token, *kind))
                for number, kind in enumerate(KINDS)
            ]
            used = [
                await person.ask("return participant.client._transport.name()") for person in people
            ]
            speakers = [Speaker(f"{number}:", each, LOST) for number, each in enumerate(people)]
            sessions = [str(await person.ask(session)) for person in people[:3]]

            await everybody_talks(speakers)
            series = 'gateway_emulation_requests_total{result="ok"}'
            taken = [counted(stack, number, series) for number in (1, 2)]
            compressed = "gateway_compression_input_bytes_total"
            shrunk = sum(counted(stack, number, compressed) for number in (1, 2))
            homes = [number for number in (1, 2) if counted(stack, number, sse)]
            for number in (homes[0], 3 - homes[0]):
                os.kill(stack.pids()[f"ws-gateway-{number}"], signal.SIGKILL)
                await everybody_talks(speakers)
                sessions += [str(await person.ask(session)) for person in people[:3]]
                await asyncio.to_thread(stack.up, 2, LIMITS="load")
            await speakers[0].say(1)
            last = speakers[0].acknowledged[-1]
            heard = [await hears(person, last) for person in people]
            ends = [await person.ends() for person in people]
    except (FileNotFoundError, StackError) as error:
        pytest.fail(str(error))
    finally:
        if not {"ws-gateway-1", "ws-gateway-2"} <= stack.pids().keys():
            stack.up(2, LIMITS="load")

    assert used == [kind for kind, _ in KINDS]
    assert min(taken) > 0
    assert shrunk > 0
    assert [len(lost) > 0 for lost in ends] == [True] * len(people)
    assert heard[1:] == heard[:1] * (len(people) - 1)
    assert len(heard[0]) == len(set(heard[0]))
    for number, speaker in enumerate(speakers):
        said = set(speaker.acknowledged)
        own = [sentence for sentence in heard[0] if sentence.startswith(f"{number}:")]
        assert [sentence for sentence in own if sentence in said] == speaker.acknowledged
    assert {len(session) for session in sessions} == {22}
    logs = "".join(path.read_text("utf-8", "replace") for path in stack.local.rglob("*.log"))
    assert "/connection/sse" in logs
    assert token not in logs
    assert token.split(".")[1][:40] not in logs
    assert not [session for session in sessions if session in logs]


def test_the_dead_are_raised(stack: Stack) -> None:
    """Whatever is killed, with its children left behind or not, the next ``up`` repairs it."""
    before = stack.pids()
    for name in ("nginx", "ws-gateway-1", "redis", "auth-service"):
        os.kill(before[name], signal.SIGKILL)
    assert stack.order("status").returncode == 1

    stack.up(2, LIMITS="load")

    after = stack.pids()
    changed = {name for name in before if before[name] != after[name]}
    assert changed == {"nginx", "ws-gateway-1", "redis", "auth-service"}
    assert stack.token()


def test_postgresql_dies_and_is_raised(stack: Stack) -> None:
    """Log-ins wait for it with 503; nobody else has to start again, and nothing was lost."""
    before = stack.pids()
    subject = stack.me(stack.token())
    os.kill(before["postgresql"], signal.SIGKILL)
    form = {"grant_type": "password", "username": "alice", "password": stack.passwords["alice"]}
    with stack.http() as http:
        refused = http.post("/token", data=form)

    stack.up(2, LIMITS="load")

    after = stack.pids()
    assert refused.status_code == 503
    assert {name for name in before if before[name] != after[name]} == {"postgresql"}
    assert stack.me(stack.token()) == subject


@pytest.mark.parametrize("path", ["/sessions", "/session"])
async def test_the_end_of_a_session_closes_its_sockets(stack: Stack, path: str) -> None:
    """On both gateways, whether ended by token or by the page's log-out, and no other's."""
    password = stack.passwords["alice"]
    other = stack.token("bob")
    stays = Watch()
    async with stack.sdk(other, stays), contextlib.AsyncExitStack() as exits:
        with stack.http() as http:
            credentials = {"username": "alice", "password": password}
            origin = {"Origin": stack.url}
            assert http.post("/session", json=credentials, headers=origin).status_code == 204
            token = http.cookies["__Host-drawbridge"]
            sockets = [
                await exits.enter_async_context(
                    websocket(
                        f"ws://127.0.0.1:{stack.ports.gateway(number)}/connection/websocket",
                        additional_headers={"Authorization": f"Bearer {token}"},
                        proxy=None,
                    )
                )
                for number in (1, 2)
            ]
            if path == "/session":
                ended = http.delete(path, headers=origin)
            else:
                ended = http.request(
                    "DELETE",
                    path,
                    headers={"Authorization": f"Bearer {token}"},
                    data={"password": password},
                )
        assert ended.status_code == 204, ended.text
        async with asyncio.timeout(5):
            for socket_ in sockets:
                await socket_.wait_closed()

    assert [socket_.close_code for socket_ in sockets] == [3500, 3500]
    assert stays.codes == []


async def test_a_page_behind_nginx_outlives_its_access_token(stack: Stack) -> None:
    """The gateway ends the socket at ``exp``; the page refreshes its session and comes back.

    Bob's: another test has ended all of alice's sessions, and with them every token as old as this.
    """
    database = (stack.local / "stack/postgresql/url").read_text("ascii").strip()
    settings = {
        "AUTH_DATABASE_URL": database,
        "AUTH_KEYS_DIR": str(stack.local / "keys"),
        "AUTH_ISSUER": stack.url,
    }
    async with open_service(Settings.from_environment(settings)) as service, chromium() as browser:
        context = await browser.new_context(ignore_https_errors=True, base_url=stack.url)
        bob = Visitor(await context.new_page(), stack)
        await bob.log_in("bob")
        cookies = {cookie["name"]: cookie["value"] for cookie in await context.cookies()}
        claims = jwt.get_unverified_claims(cookies[COOKIE])
        # The same session's access token, as it was some ten minutes ago.
        lived = claims["exp"] - claims["iat"] - SOON_SECONDS
        old = service.tokens.mint(
            sub=claims["sub"],
            client_id=claims["client_id"],
            scopes={"connect"},
            sid=claims["sid"],
            now=time.time() - lived,
            name="bob",
        )
        await give_cookie(bob, old.text, seconds=SOON_SECONDS)
        await bob.page.reload()
        await expect(bob.state).to_have_text("connected")

        async with bob.page.expect_response("**/session/refresh", timeout=60_000) as refreshed:
            await expect(bob.message("Connected again", "note")).to_be_visible(timeout=60_000)

        assert (await refreshed.value).status == 204
        await expect(bob.state).to_have_text("connected")
        now = {cookie["name"]: cookie["value"] for cookie in await context.cookies()}
        assert now.keys() == cookies.keys()
        assert not {*now.values()} & {*cookies.values(), old.text}
        assert bob.complaints == []


async def test_another_setting_is_a_rolling_restart(stack: Stack) -> None:
    """Gateways one after the other, and nobody misses anything; what does not depend stays."""
    before = stack.pids()
    watches = [Watch() for _ in range(12)]
    token = stack.token()
    async with contextlib.AsyncExitStack() as exits:
        clients = [await exits.enter_async_context(stack.sdk(token, watch)) for watch in watches]
        members = [await join(client) for client in clients]
        talker = Talker(clients[0], pause=0.05)
        await asyncio.to_thread(stack.up, 2, LIMITS="load", GATEWAY_PING_INTERVAL=20)
        await talker.stop()
        await talker.heard_by(members)

    after = stack.pids()
    changed = {name for name in before if before[name] != after[name]}
    assert changed == {"ws-gateway-1", "ws-gateway-2"}
    assert all(watch.codes for watch in watches)  # everybody had to move, some of them twice,
    # and all were told; but the SDK notes 1 if it finds the socket closed while it publishes.
    assert {code for watch in watches[1:] for code in watch.codes} == {3001}
    assert len(talker.acknowledged) > 10


def test_a_wrong_setting_touches_nothing(stack: Stack) -> None:
    """One line, and everything goes on."""
    before = stack.pids()

    done = stack.order("up", GATEWAY_PING_INTERVAL="often")

    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith("GATEWAY_PING_INTERVAL: ")
    assert done.stderr.count("\n") == 1
    assert stack.pids() == before


def test_a_start_that_fails_says_why_and_leaves_nothing(tmp_path: Path) -> None:
    """A taken port is named, and what had started is stopped again."""
    stack = Stack(tmp_path, HASTE)
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", stack.ports.gateway(2)))
        taken.listen()
        done = stack.order("up", GATEWAYS=2)

    assert done.returncode == 1
    assert done.stderr.count("\n") == 1
    assert f"cannot listen on 127.0.0.1:{stack.ports.gateway(2)}" in done.stderr
    assert done.stderr.startswith("ws-gateway-2 did not start")
    assert stack.processes.names() == []
    assert not [port for port in all_ports(stack.ports, gateways=2) if is_open(port)]


def test_down_leaves_nothing(stack: Stack) -> None:
    """No process, no listening port; and a second one has nothing to do. The last test here."""
    members = {pid for name in stack.processes.names() for pid in stack.processes.members(name)}

    first, second = stack.order("down"), stack.order("down")

    assert (first.returncode, first.stdout) == (0, "Everything is down.\n")
    assert (second.returncode, second.stdout) == (0, "Nothing is up.\n")
    # The nine parts, two workers, and those of nginx.
    assert len(members) >= 9 + 2 + (os.cpu_count() or 1)
    assert not [pid for pid in members if is_alive(pid)]
    assert not [port for port in all_ports(stack.ports, gateways=3) if is_open(port)]


def is_open(port: int) -> bool:
    """Say whether somebody listens."""
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


def is_alive(pid: int) -> bool:
    """Say whether a process runs; one that nobody has buried yet does not."""
    try:
        return " Z " not in Path(f"/proc/{pid}/stat").read_text()
    except FileNotFoundError:
        return False
