"""What the stack consists of."""

from __future__ import annotations

import dataclasses
import signal
from pathlib import Path

import pytest

from infra.stack import components
from infra.stack.settings import read


def test_no_part_gets_the_settings_of_another() -> None:
    """Secrets travel to where they are needed only."""
    caller = {"PATH": "/bin", "AUTH_DATABASE_URL": "secret", "GATEWAY_API_KEY": "secret"}
    settings = read({"AUTH_ACCESS_TOKEN_SECONDS": "60", "GATEWAY_PING_INTERVAL": "9"})

    redis = components.redis(settings).environment(caller)
    gateway = components.gateway(settings, 2).environment(caller)
    auth = components.auth(settings).environment(caller)

    assert redis == {"PATH": "/bin"}
    assert not [name for name in gateway if name.startswith("AUTH_")]
    assert not [name for name in auth if name.startswith("GATEWAY_")]
    assert gateway["GATEWAY_PING_INTERVAL"] == "9"
    assert gateway["GATEWAY_BIND"] == "127.0.0.1:8012"
    assert gateway["GATEWAY_INTERNAL_BIND"] == "127.0.0.1:9012"
    assert auth["AUTH_ACCESS_TOKEN_SECONDS"] == "60"
    assert auth["PROMETHEUS_MULTIPROC_DIR"].endswith(".local/stack/auth-metrics")


def test_the_digest_follows_everything_it_was_started_with() -> None:
    """And nothing else: the number of gateways restarts none of them."""
    one = components.gateway(read({"GATEWAYS": "1"}), 1)
    two = components.gateway(read({"GATEWAYS": "2"}), 1)
    other = components.gateway(read({"GATEWAY_PING_INTERVAL": "9"}), 1)
    redis = components.redis(read({}))
    changed = dataclasses.replace(redis, files={Path("redis.conf"): "port 1"})

    assert one.digest == two.digest
    assert one.digest != other.digest
    assert redis.digest != changed.digest


def test_the_parts_listen_where_they_are_looked_for() -> None:
    """Each name once."""
    settings = read({})
    parts = [
        components.redis(settings),
        components.postgresql(settings),
        components.auth(settings),
        components.gateway(settings, 1),
        components.front(settings),
        components.nginx_exporter(settings),
        components.postgresql_exporter(settings),
        *components.monitoring(settings),
    ]

    assert [port for part in parts for port in part.ports] == [
        *(6390, 5490, 8001, 9001, 8011, 9011, 8443, 8000, 9193, 9191, 9194, 9192, 9195, 9190)
    ]
    assert len({part.name for part in parts}) == len(parts)


@pytest.mark.parametrize(
    ("name", "number"),
    [("ws-gateway-12", 12), ("ws-gateway-x", None), ("redis", None), ("7", None)],
)
def test_gateways_are_known_by_their_number(name: str, number: int | None) -> None:
    """Whatever the directory of the records holds."""
    assert components.gateway_number(name) == number


def test_farewells() -> None:
    """A gateway has its drain, nginx waits for what flows."""
    assert components.stop_seconds("ws-gateway-1", 20) > 30
    assert components.stop_signal("ws-gateway-1") is signal.SIGTERM
    assert components.stop_signal("nginx") is signal.SIGQUIT
    assert components.stop_signal("postgresql") is signal.SIGINT


def test_open_files_are_bounded() -> None:
    """Nginx reserves memory for every connection it could have."""
    assert 0 < components.open_files() <= 65_536
