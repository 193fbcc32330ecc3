"""Exporters with the rights that the cluster gives them: they see enough, and no more.

The programs are Debian's, which are older than the images. What alerts and boards ask for is called
the same in both, and the command lines and variables are those of the manifests.
"""

from __future__ import annotations

import contextlib
import json
import os
import re
import subprocess
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import httpx2
import pytest
import yaml
from redis import Redis
from redis.exceptions import NoPermissionError

from infra.stack import postgresql, programs
from tests.integration.embedded import free_ports
from tests.postgres_server import PostgresServer
from tests.redis_server import RedisServer

MONITORING = Path("k8s/components/monitoring")
DEV = Path("k8s/overlays/dev")
BASE = Path("k8s/base")
SECONDS = 30
BROKER_PASSWORD, DATABASE_PASSWORD = "dev-only-broker_metrics", "dev-only-database_metrics"
ASKED = re.compile(r"\b(?:redis|pg)_[a-z_]+\b")


def asked(prefix: str) -> set[str]:
    """Name what alerts and boards want to know."""
    texts = [path.read_text("utf-8") for path in Path("infra/prometheus/rules").glob("*.yml")]
    for path in Path("infra/grafana/dashboards").glob("*.json"):
        texts += re.findall(r'"expr": "(.*)"', path.read_text("utf-8"))
    return {name for name in ASKED.findall("\n".join(texts)) if name.startswith(prefix)}


def container(name: str) -> dict[str, Any]:
    """Return an exporter's container as the cluster runs it."""
    _, deployment = yaml.safe_load_all((MONITORING / f"{name}.yaml").read_text("utf-8"))
    (found,) = deployment["spec"]["template"]["spec"]["containers"]
    return dict(found)


@contextlib.contextmanager
def exporter(
    program: str, arguments: Sequence[str], variables: Mapping[str, str]
) -> Iterator[Callable[[], str]]:
    """Run one; yields how to ask it."""
    (port,) = free_ports(1)
    process = subprocess.Popen(  # noqa: S603 - our own words only
        [programs.find(program), *arguments, f"--web.listen-address=127.0.0.1:{port}"],
        env={"PATH": os.environ["PATH"], **variables},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        yield lambda: scraped(port, process)
    finally:
        process.terminate()
        process.wait(SECONDS)


def scraped(port: int, process: subprocess.Popen[bytes]) -> str:
    """Ask for the numbers, as soon as somebody answers."""
    deadline = time.monotonic() + SECONDS
    while True:
        with contextlib.suppress(httpx2.TransportError):
            url = f"http://127.0.0.1:{port}/metrics"
            return httpx2.get(url, trust_env=False, timeout=SECONDS).text
        assert process.poll() is None
        assert time.monotonic() < deadline
        time.sleep(0.02)


def names(text: str) -> set[str]:
    """Name what was told."""
    return set(re.findall(r"^([a-z_0-9]+)[ {]", text, re.MULTILINE))


def psql(address: str, query: str) -> subprocess.CompletedProcess[str]:
    """Ask PostgreSQL as a role."""
    return subprocess.run(  # noqa: S603 - our own words only
        [programs.find("psql"), "--no-psqlrc", "--command", query, address],
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.fixture(scope="module")
def redis(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RedisServer]:
    """Redis with the users of the dev overlay, and one who may look what was refused."""
    directory = tmp_path_factory.mktemp("redis")
    users = (DEV / "users.acl").read_text("utf-8").replace("user default off", "user nobody off")
    (directory / "users.acl").write_text(f"{users}user default on nopass ~* &* +@all\n")
    server = RedisServer(directory, "--aclfile", str(directory / "users.acl")).start()
    yield server
    server.kill()


@pytest.fixture(scope="module")
def database(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[int, str]]:
    """PostgreSQL with the roles that its first start in a cluster makes: its port, and its name."""
    directory = tmp_path_factory.mktemp("roles")
    for name, text in (("service", "dev-only-database"), ("metrics", DATABASE_PASSWORD)):
        (directory / name).write_text(text)
    server = PostgresServer()
    try:
        server.start()
        name = server.create(tables=False)
        owner = server.url(name).replace("+asyncpg", "")
        subprocess.run(  # noqa: S603 - our own words only
            ["/bin/sh", str(BASE / "postgres/roles.sh")],
            env={
                "PATH": os.environ["PATH"],
                "PGHOST": "127.0.0.1",
                "PGPORT": str(server.port),
                "PGPASSWORD": owner.partition("@")[0].rpartition(":")[2],
                "POSTGRES_USER": postgresql.ROLE,
                "POSTGRES_DB": name,
                "SERVICE_PASSWORD_FILE": str(directory / "service"),
                "METRICS_PASSWORD_FILE": str(directory / "metrics"),
            },
            check=True,
        )
        assert psql(owner, "CREATE TABLE stored (secret text)").returncode == 0
        yield server.port, name
    finally:
        server.remove()


def test_redis_tells_its_exporter_what_is_asked(redis: RedisServer, tmp_path: Path) -> None:
    """By the user of the Secret, and nothing that it tries is refused: that would fill the log."""
    here = f"127.0.0.1:{redis.port}"
    told = container("redis-exporter")
    arguments = [word.replace("redis:6379", here) for word in told["args"][:-1]]
    passwords = tmp_path / "passwords.json"
    passwords.write_text(json.dumps({f"redis://drawbridge-metrics@{here}": BROKER_PASSWORD}))
    redis.ask("SET", "x", "1")
    redis.ask("PUBLISH", "x", "1")
    redis.ask("ACL", "LOG", "RESET")

    (variable,) = (item["name"] for item in told["env"])
    with exporter("prometheus-redis-exporter", arguments, {variable: str(passwords)}) as ask:
        text = ask()

    assert "\nredis_up 1\n" in text
    assert asked("redis_") - names(text) == set()
    refused = {entry[b"object"] for entry in map(pairs, redis.ask("ACL", "LOG"))}
    # Debian's asks for the settings although it is told not to; the image's does not.
    assert refused <= {b"config|get", b"slowlog|get", b"client|list"}, refused


def pairs(flat: list[Any]) -> dict[Any, Any]:
    """Read what Redis writes one after the other."""
    return dict(zip(flat[::2], flat[1::2], strict=True))


@pytest.mark.parametrize(
    "command", [("GET", "x"), ("KEYS", "*"), ("PUBLISH", "x", "1"), ("CONFIG", "GET", "*")]
)
def test_who_counts_redis_sees_nothing_in_it(redis: RedisServer, command: tuple[str, ...]) -> None:
    """Neither what people say nor passwords."""
    with (
        contextlib.closing(
            Redis(port=redis.port, username="drawbridge-metrics", password=BROKER_PASSWORD)
        ) as client,
        pytest.raises(NoPermissionError),
    ):
        client.execute_command(*command)  # type: ignore[no-untyped-call]


def test_postgresql_tells_its_exporter_what_is_asked(
    database: tuple[int, str], tmp_path: Path
) -> None:
    """By the role that the first start makes."""
    port, name = database
    (tmp_path / "password").write_text(DATABASE_PASSWORD)
    variables = {item["name"]: item["value"] for item in container("postgres-exporter")["env"]}
    assert variables.keys() == {"DATA_SOURCE_URI", "DATA_SOURCE_USER", "DATA_SOURCE_PASS_FILE"}
    uri = variables["DATA_SOURCE_URI"].replace(
        "postgres:5432/drawbridge", f"127.0.0.1:{port}/{name}"
    )
    given = variables | {
        "DATA_SOURCE_URI": uri,
        "DATA_SOURCE_PASS_FILE": str(tmp_path / "password"),
    }

    with exporter("prometheus-postgres-exporter", [], given) as ask:
        text = ask()

    assert "\npg_up 1\n" in text
    assert asked("pg_") - names(text) == set()


def test_who_counts_postgresql_reads_no_table(database: tuple[int, str]) -> None:
    """It sees that there are connections, and not what is stored."""
    port, name = database

    address = f"postgresql://metrics:{DATABASE_PASSWORD}@127.0.0.1:{port}/{name}"

    assert psql(address, "SELECT count(*) FROM pg_stat_activity").returncode == 0
    refused = psql(address, "SELECT * FROM public.stored")
    assert refused.returncode != 0
    assert "permission denied" in refused.stderr
