"""A process full of clients: ``python -m tests.chaos.worker JOB``, a line of stdin for each order.

Orders: ``{"victim": token, "name": …}``, ``{"flood": …}``, ``{"end": word}``, ``{"quit": true}``.
"""

from __future__ import annotations

import asyncio
import json
import random
import ssl
import sys
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import httpx2
import msgspec
import uvloop
from msgspec import Struct

from tests.chaos.deadline import dump_on_signal
from tests.chaos.history import End, Journal, Lag
from tests.chaos.raw_client import RawClient
from tests.chaos.sdk_client import SDKClient
from tests.chaos.slow_reader import SlowReader
from tests.chaos.tokens import Session

_LAG_SECONDS = 0.5
_LOOK_SECONDS = 0.1
_ARRIVAL_SECONDS = 0.02
_POLL_SECONDS = 0.02
_LEAVE_SECONDS = 10
_FILLER = "x" * 48_000
_FLOODS_PER_SECOND = 40


class Member(Struct, frozen=True, kw_only=True):
    """A client to make.

    Attributes:
        kind: ``bare``, ``protocol``, ``json`` or ``protobuf``; the last two are SDKs.
        name: In the history.
        user: Whose token it has.
        url: Of its door.
        channel: Its channel.
    """

    kind: str
    name: str
    user: str
    url: str
    channel: str


class Job(Struct, frozen=True, kw_only=True):
    """What a worker does.

    Attributes:
        journal: Where its history goes.
        front: The front with TLS.
        authority: PEM file of whom to trust.
        plain: Port of the front without TLS.
        pause: Seconds between two attempts of one client to publish.
        members: Its clients.
    """

    journal: str
    front: str
    authority: str
    plain: int
    pause: float
    members: list[Member]


Client = RawClient | SDKClient


class Worker:
    """The clients of one process.

    Args:
        job: What it does.
        http: A client of the front.
        tls: Whom the SDK trusts.
    """

    def __init__(self, job: Job, http: httpx2.AsyncClient, tls: ssl.SSLContext) -> None:
        self._job = job
        self._name = Path(job.journal).stem
        self._journal = Journal(Path(job.journal))
        self._tasks: set[asyncio.Task[None]] = set()
        self._publishing = True
        sessions: dict[str, Session] = {}
        self._clients: list[Client] = []
        for member in job.members:
            session = sessions.setdefault(member.user, Session(http, member.user))
            given: dict[str, Any] = {
                "name": member.name,
                "url": member.url,
                "channel": member.channel,
                "token": session.token,
                "journal": self._journal,
            }
            if member.kind in {"bare", "protocol"}:
                client: Client = RawClient(**given, bare=member.kind == "bare")
            else:
                client = SDKClient(**given, tls=tls, protobuf=member.kind == "protobuf")
            self._clients.append(client)

    def start(self, work: Awaitable[None]) -> None:
        """Have something done on the side."""
        task = asyncio.ensure_future(_run(work))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def run(self, orders: asyncio.StreamReader) -> None:
        """Bring everybody in, and do what is ordered until the end."""
        self.start(self._watch())
        for client in self._clients:
            self.start(client.run())
            self.start(self._talk(client))
            await asyncio.sleep(_ARRIVAL_SECONDS)
        while not all(client.subscribed for client in self._clients):  # noqa: ASYNC110 - many
            await asyncio.sleep(_POLL_SECONDS)
        _say("ready")
        async for line in orders:
            order: dict[str, Any] = json.loads(line)
            match order:
                case {"victim": str(token), "name": str(name), "channel": str(channel)}:
                    self.start(self._victim(name, token, channel))
                case {"flood": str(channel), "name": str(name), "token": str(token)}:
                    self.start(self._flood(name, channel, token, float(order["seconds"])))
                case {"end": str(word)}:
                    self._publishing = False
                    self.start(self._end(word))
                case _:
                    break
        for task in self._tasks:
            task.cancel()
        _, stuck = await asyncio.wait(self._tasks, timeout=_LEAVE_SECONDS)
        for task in stuck:
            task.print_stack(file=sys.stderr)
        self._journal.close()

    # What they do

    async def _talk(self, client: Client) -> None:
        pause = self._job.pause
        await asyncio.sleep(pause * random.random())  # noqa: S311
        due = time.monotonic()
        while self._publishing:
            client.publish()
            due = max(due + pause, time.monotonic())
            await asyncio.sleep(due - time.monotonic())

    async def _watch(self) -> None:
        """Write the history out, and note how late this process is."""
        while True:
            before = time.monotonic()
            await asyncio.sleep(_LOOK_SECONDS)
            late = time.monotonic() - before - _LOOK_SECONDS
            if late > _LAG_SECONDS:
                self._journal.note(Lag(time.monotonic(), self._name, round(late, 3)))
            self._journal.flush()

    async def _victim(self, name: str, token: str, channel: str) -> None:
        """Listen with a token that will be revoked, on two doors' worth of sockets."""

        async def show(_fresh: bool) -> str:
            return token

        members = [
            RawClient(
                name=f"{name}-{kind}",
                url=f"ws://127.0.0.1:{self._job.plain}/connection/websocket",
                channel=channel,
                token=show,
                journal=self._journal,
                bare=kind == "bare",
            )
            for kind in ("bare", "protocol")
        ]
        runs = [asyncio.ensure_future(member.run()) for member in members]
        try:
            await _until(lambda: all(member.subscribed for member in members), 10)
            _say(f"victim {name}")
            # Long enough for the revocation, and for some vain knocks after it.
            await asyncio.sleep(8)
        finally:
            for run in runs:
                run.cancel()
            await asyncio.gather(*runs, return_exceptions=True)

    async def _flood(self, name: str, channel: str, token: str, seconds: float) -> None:
        """Fill a channel of which two members stop to read."""

        async def show(_fresh: bool) -> str:
            return token

        speaker = RawClient(
            name=f"{name}-speaker",
            url=f"ws://127.0.0.1:{self._job.plain}/connection/websocket",
            channel=channel,
            token=show,
            journal=self._journal,
            bare=False,
        )
        run = asyncio.ensure_future(speaker.run())
        readers = [
            SlowReader(
                name=f"{name}-{number}",
                port=self._job.plain,
                channel=channel,
                token=token,
                journal=self._journal,
            )
            for number in range(2)
        ]
        stalls = [asyncio.ensure_future(_run(reader.stall(seconds + 5))) for reader in readers]
        try:
            await _until(lambda: speaker.subscribed, 10)
            ends = time.monotonic() + seconds
            while time.monotonic() < ends:
                speaker.publish(filler=_FILLER)
                await asyncio.sleep(1 / _FLOODS_PER_SECOND)
            await asyncio.gather(*stalls)
            _say(f"flood {name}")
        finally:
            for task in (run, *stalls):
                task.cancel()
            await asyncio.gather(run, *stalls, return_exceptions=True)

    async def _end(self, word: str) -> None:
        """Say a last word in each channel, until it is acknowledged."""
        channels = {client.channel: client for client in self._clients}
        await asyncio.gather(*(self._say_last(channel, word) for channel in sorted(channels)))
        _say("ended")

    async def _say_last(self, channel: str, word: str) -> None:
        members = [client for client in self._clients if client.channel == channel]
        while True:
            for client in members:
                attempt = client.publish(word)
                if attempt is None:
                    continue
                await _until(lambda: not client.waits_for(attempt), 10)  # noqa: B023 - awaited
                if client.acknowledged == attempt:
                    self._journal.note(End(time.monotonic(), channel, attempt))
                    return
            await asyncio.sleep(_LOOK_SECONDS)


async def _until(condition: Callable[[], bool], seconds: float) -> None:
    async with asyncio.timeout(seconds):
        while not condition():  # noqa: ASYNC110 - as cheap as an event, and in one place
            await asyncio.sleep(_POLL_SECONDS)


async def _run(work: Awaitable[None]) -> None:
    """Do something that may come to nothing while everything else fails."""
    try:
        await work
    except (OSError, TimeoutError) as error:
        sys.stderr.write(f"{type(error).__name__}: {error}\n")
    except Exception as error:
        sys.stderr.write(f"fault of a client: {error!r}\n")
        raise


def _say(line: str) -> None:
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()


async def _main(job: Job) -> None:
    dump_on_signal()
    tls = ssl.create_default_context(cafile=job.authority)
    orders = asyncio.StreamReader()
    await asyncio.get_running_loop().connect_read_pipe(
        lambda: asyncio.StreamReaderProtocol(orders), sys.stdin
    )
    async with httpx2.AsyncClient(
        base_url=job.front, verify=tls, trust_env=False, timeout=5
    ) as http:
        await Worker(job, http, tls).run(orders)


if __name__ == "__main__":
    uvloop.run(_main(msgspec.json.decode(Path(sys.argv[1]).read_bytes(), type=Job)))
