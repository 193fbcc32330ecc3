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
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import quote_plus, urlencode

import httpx2
import uvloop

from tests.attacks.conftest import WITHOUT_LIMITS
from tests.attacks.running import PASSWORD, SECRET, Services
from tests.benchmarks import report
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
from tests.postgres_server import PostgresServer

PARALLEL = 8
FLOOD = 1_000
_WARM_UP = 200
PROBES_PER_SECOND = 50
#: Seconds of CPU, and seconds of waiting, that are allowed.
MAX_REFRESH = 1.0e-3
MAX_CLIENT_CREDENTIALS = 0.8e-3
MAX_INTROSPECTION = 0.5e-3
MAX_P99 = 0.1
LOGIN = urlencode(
    {
        "grant_type": "password",
        "client_id": "app",
        "username": "alice",
        "password": PASSWORD,
    }
)


@dataclass(slots=True)
class Figures:
    """What was measured on one database.

    Args:
        database: Which.
        costs: Name of the request → CPU seconds of each.
        waits: Name of the probe → seconds of each answer during the flood.
        flood: The flood's own answers.
        rss: Bytes before the flood, at its worst, and afterwards.
        machine: Milliseconds of a fixed piece of Python.
    """

    database: str
    costs: dict[str, float] = field(default_factory=dict)
    waits: dict[str, Answers] = field(default_factory=dict)
    flood: Answers = field(default_factory=Answers)
    rss: tuple[int, int, int] = (0, 0, 0)
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
        await self._flood(figures, sessions)
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

    async def _flood(self, figures: Figures, sessions: list[dict[str, str]]) -> None:
        """Let everybody log in at once, and watch what others wait for meanwhile."""
        before = worst = rss_bytes(self._pid)
        over = asyncio.Event()
        form = LOGIN

        async def log_in() -> None:
            connection = Connection(self._port)
            begin = time.perf_counter()
            status, _ = await connection.ask(post("/token", form))
            figures.flood.add(status, time.perf_counter() - begin)
            connection.close()

        async def probe(name: str, number: int) -> None:
            connection = Connection(self._port)
            answers = figures.waits.setdefault(name, Answers())
            while not over.is_set():
                begin = time.perf_counter()
                if name == "refresh":
                    status = await self._refresh_once(connection, sessions[number])
                else:
                    status, _ = await connection.ask(get("/.well-known/jwks.json"))
                answers.add(status, time.perf_counter() - begin)
                await asyncio.sleep(1 / PROBES_PER_SECOND)

        async def health() -> None:
            nonlocal worst
            connection = Connection(self._services.auth.internal.base_url.port or 0)
            answers = figures.waits.setdefault("health", Answers())
            while not over.is_set():
                begin = time.perf_counter()
                status, _ = await connection.ask(get("/health/ready"))
                answers.add(status, time.perf_counter() - begin)
                worst = max(worst, rss_bytes(self._pid))
                await asyncio.sleep(1 / PROBES_PER_SECOND)

        async with asyncio.TaskGroup() as group:
            for name in ("refresh", "JWKS"):
                for number in range(2):
                    group.create_task(probe(name, number))
            group.create_task(health())
            await asyncio.gather(*(log_in() for _ in range(FLOOD)))
            over.set()
        figures.rss = (before, worst, rss_bytes(self._pid))


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
    for name, answers in figures.waits.items():
        wait = quantile(answers.all, 0.99)
        yield report.Row(
            f"{name} during {FLOOD:,} log-ins at once, p99 of {len(answers.all)}",
            f"{wait * 1e3:.0f} ms",
            wait <= MAX_P99,
            f"≤ {MAX_P99 * 1e3:.0f} ms",
        )
    said = ", ".join(f"{status}: {count}" for status, count in figures.flood.counts.items())
    yield report.Row(
        "the log-ins themselves", said, figures.flood.counts.keys() <= {200, 503}, "200 or 503"
    )
    before, worst, after = (round(size / 2**20) for size in figures.rss)
    yield report.Row(
        "RSS before, at worst, afterwards",
        f"{before}, {worst}, {after} MiB",
        figures.rss[2] <= figures.rss[0] * 1.2,
        "flat",
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
                bench = Bench(services, count=500 if fast else 4_000)
                figures = uvloop.run(bench.run(database))
            finally:
                services.stop()
            table = list(rows(figures))
            good = good and all(row.good for row in table)
            sections.append((database, table))
    report.show("The token service", sections, save=not fast)
    return 0 if good else 1


if __name__ == "__main__":
    sys.exit(main())
