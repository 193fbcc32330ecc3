"""A stack as ``make up`` has it, with a directory and ports of its own, for one measurement."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from infra.stack import operations
from infra.stack.processes import Processes
from infra.stack.settings import Settings, read


def environment(
    directory: Path, *, offset: int, gateways: int, more: Mapping[str, str]
) -> dict[str, str]:
    """Return the variables of a stack without limits.

    Args:
        directory: Of its files.
        offset: Of its ports.
        gateways: How many.
        more: Variables besides, which come before all others.
    """
    own = ("AUTH_", "GATEWAY", "DRAWBRIDGE_", "LIMITS", "PROMETHEUS_", "NGINX_")
    inherited = {name: text for name, text in os.environ.items() if not name.startswith(own)}
    return {
        **inherited,
        "DRAWBRIDGE_LOCAL": str(directory / "local"),
        "DRAWBRIDGE_PORT_OFFSET": str(offset),
        "GATEWAYS": str(gateways),
        "LIMITS": "load",
        **more,
    }


@contextmanager
def own_stack(variables: Mapping[str, str]) -> Iterator[Settings]:
    """Start a stack, and stop it in the end; gives its settings."""
    try:
        operations.up(variables)
        yield read(variables)
    finally:
        operations.down(variables)


def gateway_names(settings: Settings) -> list[str]:
    """Name the gateways, in order."""
    return [f"ws-gateway-{number}" for number in range(1, settings.gateways + 1)]


def members(settings: Settings, names: list[str]) -> dict[str, list[int]]:
    """Return the processes that each of these parts has now, its leader first."""
    processes = Processes(settings.stack)
    return {name: processes.members(name) for name in names}
