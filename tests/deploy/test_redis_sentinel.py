"""The component redis-sentinel: its script and its files, on three addresses of this machine."""

from __future__ import annotations

import asyncio
import contextlib
import os
import re
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from redis import Redis
from redis.exceptions import RedisError

from auth_service.redis_address import connect
from auth_service.revocation_publisher import STREAM
from tests.free_ports import free_ports
from tests.redis_cluster import wait_for
from tests.redis_guard import ADMINISTRATOR, GATEWAY, PASSWORD, PUBLISHER, Guard
from tests.ws_gateway.broker.process import kept, running

ROOT = Path(__file__).parents[2]
COMPONENT = ROOT / "k8s/components/redis-sentinel"
PODS = ("127.0.0.2", "127.0.0.3", "127.0.0.4")
SERVICE = "main"


class Pod:
    """One pod: what its script writes, and the two servers that begin with it."""

    def __init__(self, address: str, files: Path, data: Path, ports: tuple[int, int]) -> None:
        self.address = address
        self._files = files
        self._data = data
        self._redis, self._sentinel = ports
        self._processes: list[subprocess.Popen[bytes]] = []

    def start(self) -> None:
        """Start it, as a new pod of the same name."""
        subprocess.run(  # noqa: S603 - ours
            ["/bin/sh", str(COMPONENT / "start.sh")],
            check=True,
            timeout=60,
            env={
                "PATH": os.environ["PATH"],
                "SELF": self.address,
                "PEERS": " ".join(PODS),
                "FILES": str(self._files),
                "SECRETS": str(self._files),
                "DATA": str(self._data),
                "REDIS_PORT": str(self._redis),
                "SENTINEL_PORT": str(self._sentinel),
            },
        )
        for arguments in (
            [
                *(f"{self._data}/redis.conf", "--dir", str(self._data)),
                *("--repl-diskless-sync-delay", "0"),  # which only makes a test wait
            ],
            [f"{self._data}/sentinel.conf", "--sentinel"],
        ):
            self._processes.append(
                subprocess.Popen(  # noqa: S603 - our own words only
                    ["redis-server", *arguments, "--bind", self.address],  # noqa: S607 - Debian's
                    stdout=subprocess.DEVNULL,
                )
            )
        wait_for(lambda: self.answers(self._redis) and self.answers(self._sentinel))

    def kill(self) -> None:
        """End it as ``kill -9`` does."""
        for process in self._processes:
            process.kill()
            process.wait()
        self._processes.clear()

    def answers(self, port: int) -> bool:
        """Whether a server is there."""
        with contextlib.suppress(RedisError):
            return bool(self._ask(port, "PING"))
        return False

    def replication(self) -> dict[str, Any]:
        """Return what its Redis says of masters and replicas."""
        return dict(self._ask(self._redis, "INFO", "replication"))

    def refusals(self) -> list[Any]:
        """List what either of its servers did not allow."""
        return [
            entry
            for port in (self._redis, self._sentinel)
            for entry in self._ask(port, "ACL", "LOG")
        ]

    def others(self) -> int:
        """Count the other sentinels that its own knows."""
        return len(self._ask(self._sentinel, "SENTINEL", "SENTINELS", SERVICE))

    def _ask(self, port: int, *command: str) -> Any:  # noqa: ANN401
        with contextlib.closing(
            Redis(self.address, port, protocol=2, username=ADMINISTRATOR, password=PASSWORD)
        ) as redis:
            return redis.execute_command(*command)  # type: ignore[no-untyped-call]


@pytest.fixture
def ports() -> tuple[int, int]:
    """Of Redis and its sentinel, the same in every pod."""
    redis, sentinel = free_ports(2)
    return redis, sentinel


@pytest.fixture
def pods(tmp_path: Path, ports: tuple[int, int]) -> Iterator[list[Pod]]:
    """Three that have the component's files and the documentation's users."""
    files = tmp_path / "files"
    files.mkdir()
    guard = Guard(files)
    replaced = {"6379": str(ports[0]), "26379": str(ports[1])}
    for source in (ROOT / "k8s/base/redis/redis.conf", *COMPONENT.glob("*.conf")):
        text = source.read_text("utf-8").replace("/run/secrets/redis/users.acl", str(guard.users))
        text = re.sub(r"\b2?6379\b", lambda found: replaced[found[0]], text)
        (files / source.name).write_text(text)
    (files / "sentinel-password").write_text(PASSWORD)
    (files / "sentinel-users.conf").write_text(guard.sentinel_configuration)
    (files / "replication-password.conf").write_text(
        f"masteruser drawbridge-replica\nmasterauth {PASSWORD}\n"
    )
    found = []
    for address in PODS:
        data = tmp_path / address
        data.mkdir()
        found.append(Pod(address, files, data, ports))
    yield found
    for pod in found:
        pod.kill()


async def test_three_pods_find_each_other_and_one_that_comes_back_follows(
    pods: list[Pod], ports: tuple[int, int]
) -> None:
    """Both services find the master, and nobody is refused what he must do."""

    def url(user: str) -> str:
        hosts = ",".join(f"{address}:{ports[1]}" for address in PODS)
        theirs = f"sentinel_username=drawbridge&sentinel_password={PASSWORD}"
        return f"redis+sentinel://{user}:{PASSWORD}@{hosts}/{SERVICE}?{theirs}"

    async def reached(condition: Callable[[], object]) -> None:
        await asyncio.to_thread(wait_for, condition)

    first, _, last = pods
    for pod in pods:
        await asyncio.to_thread(pod.start)
    await reached(lambda: first.replication().get("min_slaves_good_slaves") == 2)
    await reached(lambda: all(pod.others() == 2 for pod in pods))
    publisher = connect(url(PUBLISHER), STREAM)
    await publisher.xadd(STREAM, {"kind": "log"}, id="0-1")
    await publisher.aclose()
    async with running(url(GATEWAY)) as gateway:
        assert await gateway.publish("news", 1)
        last.kill()
        await reached(lambda: first.replication()["min_slaves_good_slaves"] == 1)
        assert await gateway.publish("news", 2)
        await asyncio.to_thread(last.start)
        await reached(lambda: last.replication().get("master_link_status") == "up")
        await reached(lambda: first.replication()["min_slaves_good_slaves"] == 2)
        assert kept(await gateway.history("news")) == [1, 2]

    await reached(lambda: all(pod.others() == 2 for pod in pods))
    assert [pod.replication()["role"] for pod in pods] == ["master", "slave", "slave"]
    assert [pod.refusals() for pod in pods] == [[], [], []]
