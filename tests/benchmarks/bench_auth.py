"""What the token service costs: CPU per answer, and waiting times in a flood of log-ins.

On SQLite and on PostgreSQL as Debian configures it, with fsync. One process; the figures go into
``docs/performance.md``.
"""

from __future__ import annotations

import argparse
import asyncio
import base64
import json
import sys
import tempfile
import time
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import quote_plus, urlencode

import httpx2
import uvloop

from tests.attacks.conftest import WITHOUT_LIMITS
from tests.attacks.running import PASSWORD, SECRET, Services
from tests.benchmarks import report
from tests.benchmarks.flood import from_outside
from tests.benchmarks.measure import (
    Answers,
    Connection,
    cost,
    get,
    machine_milliseconds,
    post,
    quantile,
    rss_bytes,
)
from tests.benchmarks.plot import waiting_times
from tests.postgres_server import PostgresServer

PARALLEL = 8
FLOOD = 1_000
_WARM_UP = 200
#: The second one shows what the first has left behind.
FLOODS = 2
#: Of each kind, and how often each asks.
PROBES = 3
PROBES_PER_SECOND = 50
#: Seconds of CPU, and seconds of waiting, that are allowed.
MAX_REFRESH = 1.0e-3
MAX_CLIENT_CREDENTIALS = 0.8e-3
MAX_INTROSPECTION = 0.5e-3
MAX_P99 = 0.1
#: How much more memory the second flood may take.
FLAT = 1.05
LOGIN = urlencode(
    {
        "grant_type": "password",
        "client_id": "app",
        "username": "alice",
        "password": PASSWORD,
    }
)


@dataclass(slots=True, kw_only=True)
class Flood:
    """What happened while everybody logged in.

    Args:
        waits: Name of the probe → seconds of each answer.
        logins: The log-ins' own answers.
        rss_before: Bytes of memory before it.
        rss_worst: The most that was seen.
        rss_after: When it was over.
    """

    waits: dict[str, Answers] = field(default_factory=dict)
    logins: Answers = field(default_factory=Answers)
    rss_before: int
    rss_worst: int = 0
    rss_after: int = 0


@dataclass(slots=True)
class Figures:
    """What was measured on one database.

    Args:
        database: Which.
        costs: Name of the request → CPU seconds of each.
        floods: One after the other.
        machine: Milliseconds of a fixed piece of Python.
    """

    database: str
    costs: dict[str, float] = field(default_factory=dict)
    floods: list[Flood] = field(default_factory=list)
    machine: float = 0.0


class Bench:
    """One run against one running service."""

    def __init__(self, services: Services, *, count: int) -> None:
        self._services = services
        self._count = count
        self._pid = services.auth.process.pid
        self._port = httpx2.URL(services.url).port or 0
        basic = base64.b64encode(f"bot:{quote_plus(SECRET)}".encode()).decode()
        self._basic = f"Authorization: Basic {basic}"

    async def run(self, database: str) -> Figures:
        """Measure everything."""
        figures = Figures(database)
        sessions = [await self._log_in() for _ in range(PARALLEL)]
        await self._warm_up(sessions)
        figures.machine = machine_milliseconds()
        figures.costs["refresh"] = await self._refresh(sessions)
        figures.costs["client_credentials"] = await self._client_credentials()
        figures.costs["introspection"] = await self._introspect(sessions[0]["access_token"])
        figures.floods = [await self._flood(sessions) for _ in range(FLOODS)]
        return figures

    async def _warm_up(self, sessions: list[dict[str, str]]) -> None:
        """Ask for everything a few times: first statements are composed, first plans are made."""
        count, self._count = self._count, _WARM_UP
        await self._refresh(sessions)
        await self._client_credentials()
        await self._introspect(sessions[0]["access_token"])
        self._count = count

    async def _log_in(self) -> dict[str, str]:
        form = LOGIN
        status, body = await Connection(self._port).ask(post("/token", form))
        assert status == httpx2.codes.OK, body
        return dict(json.loads(body))

    async def _refresh(self, sessions: list[dict[str, str]]) -> float:
        connections = [Connection(self._port) for _ in sessions]

        async def one(number: int) -> int:
            return await self._refresh_once(connections[number], sessions[number])

        seconds, answers = await cost(self._pid, self._count, len(sessions), one)
        assert answers.counts.keys() == {httpx2.codes.OK}, answers.counts
        return seconds

    async def _refresh_once(self, connection: Connection, session: dict[str, str]) -> int:
        form = f"grant_type=refresh_token&client_id=app&refresh_token={session['refresh_token']}"
        status, body = await connection.ask(post("/token", form))
        if status == httpx2.codes.OK:
            session.update(json.loads(body))
        return status

    async def _client_credentials(self) -> float:
        request = post("/token", "grant_type=client_credentials&scope=api", self._basic)
        return await self._repeat(request)

    async def _introspect(self, token: str) -> float:
        return await self._repeat(post("/introspect", f"token={token}", self._basic))

    async def _repeat(self, request: bytes) -> float:
        connections = [Connection(self._port) for _ in range(PARALLEL)]

        async def one(number: int) -> int:
            return (await connections[number].ask(request))[0]

        seconds, answers = await cost(self._pid, self._count, PARALLEL, one)
        assert answers.counts.keys() == {httpx2.codes.OK}, answers.counts
        return seconds

    async def _flood(self, sessions: list[dict[str, str]]) -> Flood:
        """Let everybody log in at once, and watch what others wait for meanwhile."""
        flood = Flood(rss_before=rss_bytes(self._pid))
        over = asyncio.Event()

        async def probe(name: str, port: int, ask: Callable[[Connection], Awaitable[int]]) -> None:
            connection = Connection(port)
            answers = flood.waits.setdefault(name, Answers())
            while not over.is_set():
                begin = time.perf_counter()
                status = await ask(connection)
                answers.add(status, time.perf_counter() - begin)
                flood.rss_worst = max(flood.rss_worst, rss_bytes(self._pid))
                await asyncio.sleep(1 / PROBES_PER_SECOND)

        def looks_at(path: str) -> Callable[[Connection], Awaitable[int]]:
            async def ask(connection: Connection) -> int:
                return (await connection.ask(get(path)))[0]

            return ask

        def refreshes(session: dict[str, str]) -> Callable[[Connection], Awaitable[int]]:
            return lambda connection: self._refresh_once(connection, session)

        internal = self._services.auth.internal.base_url.port or 0
        async with asyncio.TaskGroup() as group:
            for session in sessions[:PROBES]:
                group.create_task(probe("refresh", self._port, refreshes(session)))
                group.create_task(probe("JWKS", self._port, looks_at("/.well-known/jwks.json")))
                group.create_task(probe("health", internal, looks_at("/health/ready")))
            flood.logins = await from_outside(self._port, FLOOD, post("/token", LOGIN))
            over.set()
        flood.rss_after = rss_bytes(self._pid)
        return flood


def rows(figures: Figures) -> Iterator[report.Row]:
    """Set the figures beside what is allowed."""
    yield report.Row("the same piece of Python", f"{figures.machine:.2f} ms", True, "")
    limits = {
        "refresh": MAX_REFRESH,
        "client_credentials": MAX_CLIENT_CREDENTIALS,
        "introspection": MAX_INTROSPECTION,
    }
    for name, seconds in figures.costs.items():
        yield report.Row(
            f"{name}, CPU of the service",
            f"{seconds * 1e3:.2f} ms",
            seconds <= limits[name],
            f"≤ {limits[name] * 1e3:.1f} ms",
        )
    for number, flood in enumerate(figures.floods, 1):
        yield from _flood_rows(flood, number)
    first, last = figures.floods[0], figures.floods[-1]
    sizes = (first.rss_before, first.rss_after, last.rss_worst, last.rss_after)
    yield report.Row(
        "RSS before the first flood, after it, at worst in the second, after it",
        ", ".join(f"{round(size / 2**20)}" for size in sizes) + " MiB",
        last.rss_worst <= first.rss_after * FLAT,
        f"the second adds ≤ {FLAT - 1:.0%}",
    )


def _flood_rows(flood: Flood, number: int) -> Iterator[report.Row]:
    what = f"{FLOOD:,} log-ins at once" + (", again" if number > 1 else "")
    for name, answers in flood.waits.items():
        wait = quantile(answers.all, 0.99)
        failed = len(answers.all) - answers.counts.get(httpx2.codes.OK, 0)
        yield report.Row(
            f"{name} during {what}: p99 of {len(answers.all)}",
            f"{wait * 1e3:.0f} ms" + (f"; {failed} failed" if failed else ""),
            wait <= MAX_P99 and not failed,
            f"≤ {MAX_P99 * 1e3:.0f} ms",
        )
    said = ", ".join(f"{status}: {count}" for status, count in flood.logins.counts.items())
    longest = max(flood.logins.all)
    yield report.Row(
        "the log-ins themselves",
        f"{said}; within {longest:.1f} s",
        flood.logins.counts.keys() <= {200, 503},
        "200 or 503",
    )


@contextmanager
def databases(directory: Path) -> Iterator[dict[str, str]]:
    """Give both databases' addresses."""
    server = PostgresServer({}).start()
    try:
        yield {
            "SQLite": f"sqlite+aiosqlite:///{directory}/auth.db",
            "PostgreSQL": server.url(server.create()),
        }
    finally:
        server.remove()


def main() -> int:
    """Measure on both databases and write the page; returns the exit status."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--fast", action="store_true", help="fewer requests, the page is left")
    fast = parser.parse_args().fast
    sections = []
    pictures = {}
    good = True
    with (
        tempfile.TemporaryDirectory(prefix="drawbridge-bench-") as name,
        databases(Path(name)) as urls,
    ):
        for database, url in urls.items():
            folder = Path(name) / database
            folder.mkdir()
            services = Services(folder, url, WITHOUT_LIMITS).start()
            services.populate()
            try:
                bench = Bench(services, count=300 if fast else 4_000)
                figures = uvloop.run(bench.run(database))
            finally:
                services.stop()
            table = list(rows(figures))
            good = good and all(row.good for row in table)
            sections.append((database, table))
            pictures[database] = waiting_times(
                f"{database}: answers while {FLOOD:,} log in at once",
                {name: answers.all for name, answers in figures.floods[0].waits.items()},
                target=MAX_P99,
            )
    report.show("The token service", sections, save=not fast, pictures=pictures)
    return 0 if good else 1


if __name__ == "__main__":
    sys.exit(main())
