"""Redis' configuration."""

from __future__ import annotations

from infra.stack.redis import configuration


def test_redis_is_a_broker_on_loopback() -> None:
    """No disk, no eviction, nobody from outside."""
    lines = configuration(6390).splitlines()

    for line in (
        "bind 127.0.0.1",
        "port 6390",
        "protected-mode yes",
        'save ""',
        "appendonly no",
        "maxmemory-policy noeviction",
    ):
        assert line in lines
