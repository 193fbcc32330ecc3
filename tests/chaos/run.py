"""One run: a world, its clients, a plan of faults, and the history that comes of it."""

from __future__ import annotations

import asyncio
import sys
import time
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from tests.chaos.cast import CHANNELS, Cast, users
from tests.chaos.deadline import StoodStill, limited
from tests.chaos.faults import Faults
from tests.chaos.history import Event, Journal, Lag, read_all
from tests.chaos.observer import Audit, watch_gateways
from tests.chaos.schedule import Kind, has_sentinels, plan, possible
from tests.chaos.world import World

_START_SECONDS = 180
_FAULT_SECONDS = 120
_LAST_WORDS_SECONDS = 60
# Silent channels are compared every five seconds here; the rest is a busy machine's.
_QUIET_SECONDS = 12
_AUDIT_SECONDS = 30
_QUIT_SECONDS = 90
_STOP_SECONDS = 150
_LOOK_SECONDS = 0.1
_LAG_SECONDS = 0.5


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """What a run is like.

    Attributes:
        seed: Of the faults.
        seconds: How long faults begin.
        clients: How many.
        rate: Attempts to publish a second.
        kinds: Which faults there are; None: all that there can be.
        runner: A module that runs the gateways.
        settings: More ``GATEWAY_*``.
        previous: A working tree of the version before.
    """

    seed: int
    seconds: float
    clients: int = 200
    rate: float = 210
    kinds: Collection[Kind] | None = None
    runner: str = "tests.chaos.hurried"
    settings: Mapping[str, str] = field(default_factory=dict)
    previous: Path | None = None

    @property
    def limit_seconds(self) -> float:
        """After which something is wrong with the run itself."""
        parts = (_START_SECONDS, _FAULT_SECONDS, _LAST_WORDS_SECONDS, _AUDIT_SECONDS)
        return self.seconds + sum(parts) + _QUIET_SECONDS + _QUIT_SECONDS + _STOP_SECONDS


async def run(options: Options, directory: Path) -> list[Event]:
    """Do it; returns the history.

    Args:
        options: What the run is like.
        directory: For all its files; new.

    Raises:
        StoodStill: A part of it was not done in time; ``stacks.txt`` says where everybody was.
        TimeoutError: Something did not start, or did not come back.
    """
    journal = Journal(directory / "faults.jsonl")
    stacks = directory / "stacks.txt"
    world = World(
        directory,
        users(),
        runner=options.runner,
        settings=options.settings,
        sentinels=options.kinds is None and has_sentinels(options.seed),
        previous=options.previous,
    )
    cast = Cast(world, directory, count=options.clients, rate=options.rate)
    audit = Audit(lambda: world.redis.master.port, CHANNELS, journal.note)
    running = world.running()
    async with limited("starting the stack", _START_SECONDS, stacks):
        await running.__aenter__()
    watching: list[asyncio.Task[None]] = []
    try:
        watching += [
            asyncio.create_task(watch_gateways(world, journal.note), name="watch gateways"),
            asyncio.create_task(audit.run(), name="audit"),
            asyncio.create_task(_watch_ourselves(journal), name="watch ourselves"),
        ]
        async with limited("bringing the clients in", _START_SECONDS, stacks):
            await cast.start()
        faults = Faults(world, cast, journal.note, seed=options.seed)
        async with limited("the faults", options.seconds + _FAULT_SECONDS, stacks):
            await _shake(options, faults)
            await faults.healed()
        async with limited("the last words", _LAST_WORDS_SECONDS, stacks):
            await cast.end("end:", _LAST_WORDS_SECONDS)
        await asyncio.sleep(_QUIET_SECONDS)
        async with limited("the last look", _AUDIT_SECONDS, stacks):
            await world.redis.check()
            await audit.look(1000)
    except (StoodStill, TimeoutError):
        await cast.tell_where()
        raise
    finally:
        for task in watching:
            task.cancel()
        async with limited("the end of the clients", _QUIT_SECONDS, stacks):
            await asyncio.gather(*watching, return_exceptions=True)
            await cast.quit()
        journal.close()
        async with limited("stopping the stack", _STOP_SECONDS, stacks):
            await running.__aexit__(None, None, None)
    return await asyncio.to_thread(read_all, directory)


async def _watch_ourselves(journal: Journal) -> None:
    """Note how late this process is: the networks are in it, so it delays everybody."""
    while True:
        before = time.monotonic()
        await asyncio.sleep(_LOOK_SECONDS)
        late = time.monotonic() - before - _LOOK_SECONDS
        if late > _LAG_SECONDS:
            journal.note(Lag(time.monotonic(), "", round(late, 3)))
        journal.flush()


async def _shake(options: Options, faults: Faults) -> None:
    began = time.monotonic()
    kinds = options.kinds or possible(options.seed, previous=options.previous is not None)
    async with asyncio.TaskGroup() as group:
        for planned in plan(options.seed, options.seconds, kinds):
            await asyncio.sleep(max(0, began + planned.at - time.monotonic()))
            sys.stderr.write(f"{planned.at:6.1f} s  {planned.kind}\n")
            group.create_task(faults.inject(planned), name=f"{planned}")
        await asyncio.sleep(max(0, began + options.seconds - time.monotonic()))
