"""Redis with the configuration and the users of the manifests, in Debian's redis-server."""

from __future__ import annotations

import contextlib
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from redis import Redis
from redis.backoff import NoBackoff
from redis.exceptions import AuthenticationError
from redis.retry import Retry

from infra.stack import programs
from tests.redis_guard import GATEWAY
from tests.redis_server import RedisServer
from tests.ws_gateway.broker.process import kept, running

ROOT = Path(__file__).parents[2]
USERS = ROOT / "k8s/overlays/dev/users.acl"
PROBE = ("drawbridge-probe", "any")


@pytest.fixture
def redis(tmp_path: Path) -> Iterator[RedisServer]:
    """One that has written everything to its log before it answers."""
    server = RedisServer(
        tmp_path,
        *("--aclfile", str(USERS), "--appendonly", "yes", "--appendfsync", "always"),
        configuration=ROOT / "k8s/base/redis/redis.conf",
        login=PROBE,
    ).start()
    yield server
    server.kill()


async def test_what_was_published_outlives_a_restart(redis: RedisServer) -> None:
    """Redis reads its log with the rights of the default user, and refused all transactions."""
    url = f"redis://{GATEWAY}:dev-only-gateway@127.0.0.1:{redis.port}"
    async with running(url) as gateway:
        assert all([await gateway.publish("news", number) for number in range(5)])
        before = await gateway.history("news")

    redis.kill()
    redis.start()

    async with running(url) as gateway:
        assert kept(before) == list(range(5))
        assert await gateway.history("news") == before


def test_who_has_no_name_may_not_even_ask(redis: RedisServer) -> None:
    """The default user has all rights, and nobody is it."""
    for name, password in ((None, None), ("default", ""), ("default", "any")):
        with (
            contextlib.closing(
                Redis(
                    port=redis.port, username=name, password=password, retry=Retry(NoBackoff(), 0)
                )
            ) as client,
            pytest.raises(AuthenticationError),
        ):
            client.ping()


def probes() -> list[list[str]]:
    """Return what asks Redis whether it is there: the pod's probes, and compose's."""
    documents = yaml.safe_load_all((ROOT / "k8s/base/redis.yaml").read_text("utf-8"))
    (workload,) = [one for one in documents if one["kind"] == "StatefulSet"]
    (container,) = workload["spec"]["template"]["spec"]["containers"]
    found = [container[name]["exec"]["command"] for name in ("startupProbe", "readinessProbe")]
    compose: Any = yaml.safe_load((ROOT / "infra/compose/compose.yaml").read_text("utf-8"))
    return [*found, compose["services"]["redis"]["healthcheck"]["test"][1:]]


def test_the_probes_are_answered_and_may_do_nothing_else(redis: RedisServer) -> None:
    """They are in everybody's sight, and so is their name."""

    def run(command: list[str]) -> tuple[int, str]:
        done = subprocess.run(  # noqa: S603 - ours
            [programs.find(command[0]), "-p", str(redis.port), *command[1:]],
            capture_output=True,
            text=True,
            check=False,
        )
        return done.returncode, done.stdout + done.stderr

    for command in probes():
        assert run(command) == (0, "PONG\n")
        code, said = run([*command[:-1], "keys", "*"])
        assert code != 0
        assert "NOPERM" in said
