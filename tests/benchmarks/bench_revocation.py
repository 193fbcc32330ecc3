"""How long a revoked socket lives: a thousand of them on two gateways, which receive meanwhile."""

from __future__ import annotations

import argparse
import asyncio
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

from tests.benchmarks import report
from tests.benchmarks.measure import quantile
from tests.benchmarks.revocation_load import Outcome, run
from tests.integration.two_gateways import World

MAX_SECONDS = 1.0
PUBLICATIONS_PER_SECOND = 200
REVOCATIONS_PER_SECOND = 10


def rows(outcome: Outcome, revocations: int, sockets: int) -> Iterator[report.Row]:
    """Set the figures beside what is promised."""
    waits = outcome.waits
    if outcome.received:
        received = f"{outcome.received / outcome.seconds:,.0f} a second"
        yield report.Row("publications that reached sockets", received, True, "")
    yield report.Row("revocations; sockets closed", f"{revocations}; {len(waits)}", True, "")
    for share in (0.5, 0.9, 0.99):
        wait = quantile(waits, share)
        target = f"≤ {MAX_SECONDS * 1e3:.0f} ms" if share == 0.99 else ""
        yield report.Row(
            f"until it is closed, p{share * 100:.0f}",
            f"{wait * 1e3:.0f} ms",
            wait <= MAX_SECONDS,
            target,
        )
    longest = f"{max(waits) * 1e3:.0f} ms"
    yield report.Row("the longest", longest, max(waits) <= MAX_SECONDS, "")
    others = f"{outcome.bystanders} of {sockets - len(waits)}"
    yield report.Row("closed without being revoked", others, outcome.bystanders == 0, "none")


def main() -> int:
    """Measure and write the page; returns the exit status."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--fast", action="store_true", help="fewer sockets, the page is left alone")
    fast = parser.parse_args().fast
    sockets, revocations, outage = (200, 40, 5.0) if fast else (1_000, 200, 30.0)
    sections = []
    for name, outage_seconds in (
        (f"{sockets:,} sockets, {PUBLICATIONS_PER_SECOND} publications a second", 0.0),
        (f"counted from when the log was readable, after {outage:.0f} s without", outage),
    ):
        with tempfile.TemporaryDirectory(prefix="drawbridge-bench-") as directory:
            world = World(Path(directory), f"sqlite+aiosqlite:///{directory}/auth.db")
            with world.running():
                outcome = asyncio.run(
                    run(
                        world,
                        sockets=sockets,
                        publications_per_second=PUBLICATIONS_PER_SECOND,
                        revocations=revocations,
                        revocations_per_second=REVOCATIONS_PER_SECOND,
                        outage_seconds=outage_seconds,
                    )
                )
        sections.append((name, list(rows(outcome, revocations, sockets))))
    report.show("Revocations under load", sections, save=not fast)
    return 0 if all(row.good for _, table in sections for row in table) else 1


if __name__ == "__main__":
    sys.exit(main())
