"""A canary in the process of its test."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable
from typing import Any

from prometheus_client import CollectorRegistry

from infra.canary.login import Login
from infra.canary.metrics import Metrics
from infra.canary.probe import Probe
from infra.canary.settings import Settings
from tests.integration.embedded import Embedded

#: As long as a busy machine may take; nothing waits for it where all is well.
LONG = 30.0


class Canary:
    """One probe that runs, and its numbers.

    Args:
        server: Whom it asks.
        settings: Its own; it tries often and is patient unless told.
    """

    def __init__(self, server: Embedded, **settings: Any) -> None:  # noqa: ANN401
        self.registry = CollectorRegistry()
        chosen = {"interval_seconds": 0.05, "deadline_seconds": LONG, **settings}
        made = Settings(url=server.url, **chosen)
        metrics = Metrics(self.registry, made.interval_seconds)
        self._login = Login(made, metrics, server.context)
        self.probe = Probe(made, self._login, metrics, server.context)

    @contextlib.asynccontextmanager
    async def running(self) -> AsyncIterator[Canary]:
        """Run it until the end of the block."""
        task = asyncio.create_task(self.probe.run())
        try:
            yield self
        finally:
            task.cancel()
            await asyncio.wait([task])
            await self._login.close()
        assert task.cancelled()

    def value(self, name: str, **labels: str) -> float:
        """Read a number."""
        found = self.registry.get_sample_value(f"canary_{name}", labels)
        assert found is not None
        return found

    def count(self, stage: str, outcome: str = "success") -> float:
        """Read how many steps ended so."""
        return self.value("attempts_total", stage=stage, outcome=outcome)

    async def until(self, condition: Callable[[], object]) -> None:
        """Wait for what it is to come to."""
        async with asyncio.timeout(LONG):
            while not condition():  # noqa: ASYNC110 - numbers have no event
                await asyncio.sleep(0.01)
