"""All clients of a run, in a few processes of their own."""

from __future__ import annotations

import asyncio
import contextlib
import json
import signal
import sys
from asyncio.subprocess import PIPE, Process
from pathlib import Path
from typing import Any

import msgspec

from tests.chaos.excuses import ROUGH
from tests.chaos.tokens import CLIENT, PASSWORD
from tests.chaos.worker import Job, Member
from tests.chaos.world import World
from tests.integration import sdk_javascript

USERS = 40
KEPT_CHANNELS = 16
SHORT_CHANNELS = 4
CHANNELS = [
    *(f"kept:{number}" for number in range(KEPT_CHANNELS)),
    *(f"short:{number}" for number in range(SHORT_CHANNELS)),
]
_START_SECONDS = 120
_QUIT_SECONDS = 20
_WORDS_SECONDS = 5
_PYTHON_SDK_EVERY = 8
_ROUGH_EVERY = 3


def users() -> list[str]:
    """Name everybody who may log in."""
    return [f"user{number}" for number in range(USERS)]


def members(world: World, count: int) -> dict[str, list[Member]]:
    """Share clients out among the processes: two of Python, one of Node.

    Args:
        world: Where they go.
        count: How many.
    """
    shares: dict[str, list[Member]] = {"python-0": [], "python-1": [], "node": []}
    in_node = count * 2 // 25
    for number in range(count):
        given: dict[str, Any] = {
            "user": f"user{number % USERS}",
            "channel": CHANNELS[number % len(CHANNELS)],
        }
        if number >= count - in_node:
            kind, share = ("json", "protobuf")[number % 2], "node"
        elif number % _PYTHON_SDK_EVERY == _PYTHON_SDK_EVERY - 1:
            kind, share = ("json", "protobuf")[number // 8 % 2], f"python-{number // 8 % 2}"
        else:
            kind, share = ("bare", "protocol")[number % 2], f"python-{number // 2 % 2}"
        secure = kind in {"json", "protobuf"}
        rough = not secure and number % _ROUGH_EVERY == 0
        shares[share].append(
            Member(
                kind=kind,
                name=f"{share}-{kind}-{number}{ROUGH if rough else ''}",
                url=world.url(secure=secure, rough=rough),
                **given,
            )
        )
    return shares


class Cast:
    """The clients' processes.

    Args:
        world: Where they go.
        directory: Of their histories and logs.
        count: How many clients.
        rate: Attempts to publish a second, of all together.
    """

    def __init__(self, world: World, directory: Path, *, count: int, rate: float) -> None:
        self._world = world
        self._directory = directory
        self._shares = members(world, count)
        self._pause = count / rate
        self._processes: dict[str, Process] = {}
        self._tasks: list[asyncio.Task[None]] = []
        self._lines: set[str] = set()
        self._news = asyncio.Condition()

    @property
    def journals(self) -> list[Path]:
        """Where their histories are."""
        return [self._directory / f"{name}.jsonl" for name in self._shares]

    async def start(self) -> None:
        """Bring everybody in.

        Raises:
            TimeoutError: Not everybody has come.
        """
        node = await asyncio.to_thread(sdk_javascript.install)
        program = str(sdk_javascript.FOLDER / "chaos.mjs")
        for name, share in self._shares.items():
            file = self._directory / f"{name}.json"
            file.write_bytes(msgspec.json.encode(self._job(name, share)))
            words = (
                (node, program) if name == "node" else (sys.executable, "-m", "tests.chaos.worker")
            )
            with (self._directory / f"{name}.log").open("ab") as log:
                process = await asyncio.create_subprocess_exec(
                    *words, str(file), stdin=PIPE, stdout=PIPE, stderr=log
                )
            self._processes[name] = process
            self._tasks.append(asyncio.create_task(self._listen(name, process)))
        for name in self._shares:
            if not await self.said(f"{name}: ready", _START_SECONDS):
                raise TimeoutError(f"the clients of {name} have not all come")

    def _job(self, name: str, share: list[Member]) -> dict[str, object]:
        job = Job(
            journal=str(self._directory / f"{name}.jsonl"),
            front=self._world.front_url,
            authority=str(self._world.authority),
            plain=self._world.plain,
            pause=self._pause,
            members=share,
        )
        return {**msgspec.to_builtins(job), "client": CLIENT, "password": PASSWORD}

    async def order(self, **order: object) -> None:
        """Tell the first process."""
        await self._tell("python-0", order)

    async def end(self, word: str, seconds: float) -> None:
        """Have the last words said; publishing stops.

        Raises:
            TimeoutError: They were not acknowledged.
        """
        for name in self._shares:
            await self._tell(name, {"end": word})
        for name in self._shares:
            if not await self.said(f"{name}: ended", seconds):
                raise TimeoutError(f"the last words of {name} were not acknowledged")

    async def tell_where(self) -> None:
        """Have those of Python write into their logs where they stand."""
        for name, process in self._processes.items():
            if process.returncode is None and name != "node":
                process.send_signal(signal.SIGUSR1)
        await asyncio.sleep(_WORDS_SECONDS)

    async def quit(self) -> None:
        """Have them write out what they have, and end."""
        for name, process in self._processes.items():
            if process.returncode is None:
                with contextlib.suppress(OSError, TimeoutError):
                    await self._tell(name, {"quit": True})
        for process in self._processes.values():
            try:
                async with asyncio.timeout(_QUIT_SECONDS):
                    await process.wait()
            except TimeoutError:
                process.kill()
                await process.wait()
        await asyncio.gather(*self._tasks)

    async def said(self, line: str, seconds: float) -> bool:
        """Wait until a process has said this; a name before it says which."""
        try:
            async with asyncio.timeout(seconds), self._news:
                await self._news.wait_for(lambda: line in self._lines)
        except TimeoutError:
            return False
        return True

    async def _tell(self, name: str, order: dict[str, object]) -> None:
        stdin = self._processes[name].stdin
        assert stdin is not None
        stdin.write(json.dumps(order).encode() + b"\n")
        async with asyncio.timeout(_WORDS_SECONDS):
            await stdin.drain()

    async def _listen(self, name: str, process: Process) -> None:
        assert process.stdout is not None
        async for line in process.stdout:
            text = line.decode().strip()
            async with self._news:
                self._lines |= {text, f"{name}: {text}"}
                self._news.notify_all()
