"""``make test-images``: the images, run as restricted pods are, and people talking through them."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator

import httpx2
import pytest
from websockets.asyncio.client import ClientConnection, connect

from tests.images.containers import SECONDS, Containers
from tests.integration.embedded import ask, close_code, tell


@pytest.fixture(scope="module")
def containers(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Containers]:
    """Everything, with two gateways."""
    made = Containers(tmp_path_factory.mktemp("containers"))
    try:
        yield made.start()
    finally:
        made.stop()


@pytest.fixture(scope="module")
def tokens(containers: Containers) -> list[str]:
    """Users made as an operator makes the first ones; each has logged in."""
    found = []
    for name in ("alice", "bob"):
        command = ("python", "-m", "auth_service", "users", "add", name, "--generate", "--json")
        password = json.loads(containers.execute("auth-service", *command))["password"]
        form = {"grant_type": "password", "username": name, "password": password}
        answer = containers.http.post("/token", data=form, timeout=SECONDS)
        assert answer.status_code == httpx2.codes.OK, answer.text
        found.append(answer.json()["access_token"])
    return found


def enter(containers: Containers, token: str) -> connect:
    """Open a socket through nginx."""
    return connect(
        f"wss://localhost:{containers.tls}/connection/websocket",
        ssl=containers.context,
        additional_headers={"Authorization": f"Bearer {token}"},
        proxy=None,
    )


async def join(session: ClientConnection, channel: str) -> None:
    """Subscribe."""
    answer = await ask(session, id=1, subscribe={"channel": channel})
    assert "subscribe" in answer, answer


@pytest.mark.timeout(300)
def test_people_talk_across_two_gateways(containers: Containers, tokens: list[str]) -> None:
    """Log in at nginx, open a socket each, and hear each other through Redis."""

    async def talk() -> None:
        async with enter(containers, tokens[0]) as alice, enter(containers, tokens[1]) as bob:
            assert await asyncio.to_thread(containers.connections) == [1, 1]
            await join(alice, "room:images")
            await join(bob, "room:images")
            for session, other, text in ((alice, bob, "hello"), (bob, alice, "hello yourself")):
                await session.send(
                    json.dumps({"id": 2, "publish": {"channel": "room:images", "data": text}})
                )
                async with asyncio.timeout(SECONDS):
                    while True:
                        said = (await tell(other)).get("push", {}).get("pub", {})
                        if said.get("data") == text:
                            break

    asyncio.run(talk())


@pytest.mark.timeout(300)
def test_the_canary_hears_itself(containers: Containers) -> None:
    """Through nginx, with a password out of a file that is in no log; told to end, it does."""
    command = ("python", "-m", "auth_service", "users", "add", "canary", "--generate", "--json")
    password = json.loads(containers.execute("auth-service", *command))["password"]
    port = containers.serve_canary(password)

    def heard() -> float:
        name = 'canary_attempts_total{outcome="success",stage="receive"}'
        try:
            text = httpx2.get(f"http://127.0.0.1:{port}/metrics", trust_env=False).text
        except httpx2.TransportError:
            return 0
        (line,) = (line for line in text.splitlines() if line.startswith(name))
        return float(line.split()[-1])

    containers.await_(lambda: heard() >= 2)
    canary = containers.order_to_stop("canary")

    assert canary.process.wait(SECONDS) == 0
    assert '"event": "started"' in canary.said()
    assert password not in canary.said()


@pytest.mark.timeout(300)
def test_no_token_is_in_any_log(containers: Containers, tokens: list[str]) -> None:
    """Of what has been said so far."""
    said = "".join(container.said() for container in containers.running.values())

    assert '"event":"request"' in said
    assert not [token for token in tokens if token.split(".")[2] in said]


@pytest.mark.parametrize(
    ("target", "module"),
    [
        *(("ws-gateway", "auth_service"), ("auth-service", "ws_gateway")),
        *(("canary", "ws_gateway"), ("canary", "auth_service")),
    ],
)
def test_an_image_has_one_service(containers: Containers, target: str, module: str) -> None:
    """And nothing to install another one with."""
    for absent in (module, "pip", "setuptools"):
        done = containers.try_once(
            target, "--entrypoint", "python", command=["-c", f"import {absent}"]
        )
        assert f"No module named '{absent}'" in done.stderr


@pytest.mark.parametrize(
    ("target", "module"),
    [
        *(("ws-gateway", "ws_gateway.workers"), ("auth-service", "auth_service.workers")),
        ("canary", "infra.canary.probe"),
    ],
)
def test_nothing_is_compiled_at_a_start(containers: Containers, target: str, module: str) -> None:
    """Copying a file changes its time; byte code that looks at it costs each start seconds."""
    done = containers.try_once(
        target, "--entrypoint", "python", command=["-v", "-c", f"import {module}"]
    )

    assert done.returncode == 0, done.stderr
    # The interpreter's own words, with quotes where it was byte code.
    assert "code object from '/app/" in done.stderr
    compiled = ("# code object from /app/", "# code object from /venv/")
    assert not [line for line in done.stderr.splitlines() if line.startswith(compiled)]


@pytest.mark.parametrize("target", ["auth-service", "ws-gateway", "nginx", "canary"])
def test_an_image_is_nobody_in_particular(containers: Containers, target: str) -> None:
    """A user without rights, who can write nowhere."""
    options = ("--entrypoint", "sh")
    script = "id -u; touch /app /etc/x /usr/x 2>/dev/null || echo no"

    assert containers.once(target, *options, command=["-c", script]).split() == ["10001", "no"]


def test_a_pod_learns_whether_its_tables_are_there(containers: Containers) -> None:
    """As the service's own role, before the migrations and after; its pod waits by this."""
    assert containers.before.returncode == 3
    assert containers.after.returncode == 0, containers.after.stderr


def test_redis_tells_its_probe_nothing(containers: Containers) -> None:
    """Whoever has no password may ask whether it is there, and no more."""
    assert containers.redis_cli("ping")
    assert not containers.redis_cli("keys", "*")
    assert not containers.redis_cli("get", "x")


def test_production_takes_none_of_the_examples(containers: Containers) -> None:
    """The dev overlay's Secrets stop the start, by name and without the value."""
    options = containers.running["auth-service"].process.args
    assert isinstance(options, list)
    first = options.index("--volume")
    given = [str(option) for option in options[first:-1]]
    given[given.index("AUTH_ENVIRONMENT=development")] = "AUTH_ENVIRONMENT=production"

    done = containers.try_once("auth-service", *given)

    assert done.returncode != 0
    assert "AUTH_DATABASE_URL: production takes no secret" in done.stderr
    assert "dev-only-database" not in done.stderr


@pytest.mark.timeout(300)
def test_a_gateway_that_is_told_to_stop_says_goodbye(
    containers: Containers, tokens: list[str]
) -> None:
    """Its process is the one that gets the signal; 3001, then status 0."""

    async def part() -> list[int | None]:
        async with enter(containers, tokens[0]) as alice, enter(containers, tokens[1]) as bob:
            for session in (alice, bob):
                await join(session, "lobby")
            stopped = [containers.order_to_stop(f"ws-gateway-{number}") for number in (1, 2)]
            codes = [await close_code(session) for session in (alice, bob)]
            for container in stopped:
                assert await asyncio.to_thread(container.process.wait, SECONDS) == 0
            return codes

    assert asyncio.run(part()) == [3001, 3001]
