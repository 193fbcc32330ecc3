"""One run: a world, its clients, a plan of faults, and the history that comes of it."""

from __future__ import annotations

import asyncio
import sys
import time
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from tests.chaos.cast import CHANNELS, Cast, users
from tests.chaos.faults import Faults
from tests.chaos.history import Event, Journal, read
from tests.chaos.observer import Audit, watch_gateways
from tests.chaos.schedule import Kind, plan
from tests.chaos.world import World

_LAST_WORDS_SECONDS = 60
# Silent channels are compared every five seconds here; the rest is a busy machine's.
_QUIET_SECONDS = 12
_AUDIT_SECONDS = 30
_FAULT_SECONDS = 120


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """What a run is like.

    Attributes:
        seed: Of the faults.
        seconds: How long faults begin.
        clients: How many.
        rate: Attempts to publish a second.
        kinds: Which faults there may be.
        runner: A module that runs the gateways.
        settings: More ``GATEWAY_*``.
    """

    seed: int
    seconds: float
    clients: int = 200
    rate: float = 210
    kinds: Collection[Kind] = tuple(Kind)
    runner: str = "tests.chaos.hurried"
    settings: Mapping[str, str] = field(default_factory=dict)


async def run(options: Options, directory: Path) -> list[Event]:
    """Do it; returns the history.

    Args:
        options: What the run is like.
        directory: For all its files; new.

    Raises:
        TimeoutError: Something did not start, or did not come back.
    """
    journal = Journal(directory / "faults.jsonl")
    world = World(directory, users(), runner=options.runner, settings=options.settings)
    cast = Cast(world, directory, count=options.clients, rate=options.rate)
    audit = Audit(world.redis.port, CHANNELS, journal.note)
    async with world.running():
        watching = [
            asyncio.create_task(watch_gateways(world, journal.note)),
            asyncio.create_task(audit.run()),
        ]
        try:
            await cast.start()
            faults = Faults(world, cast, journal.note, seed=options.seed)
            await _shake(options, faults)
            await faults.healed()
            await cast.end("end:", _LAST_WORDS_SECONDS)
            await asyncio.sleep(_QUIET_SECONDS)
            async with asyncio.timeout(_AUDIT_SECONDS):
                await audit.look(1000)
        finally:
            for task in watching:
                task.cancel()
            await asyncio.gather(*watching, return_exceptions=True)
            await cast.quit()
            journal.close()
    return read([*cast.journals, directory / "faults.jsonl"])


async def _shake(options: Options, faults: Faults) -> None:
    began = time.monotonic()
    async with asyncio.timeout(options.seconds + _FAULT_SECONDS), asyncio.TaskGroup() as group:
        for planned in plan(options.seed, options.seconds, options.kinds):
            await asyncio.sleep(max(0, began + planned.at - time.monotonic()))
            sys.stderr.write(f"{planned.at:6.1f} s  {planned.kind}\n")
            group.create_task(faults.inject(planned))
        await asyncio.sleep(max(0, began + options.seconds - time.monotonic()))
