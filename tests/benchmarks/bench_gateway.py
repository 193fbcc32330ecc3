"""What the gateway costs, beside a floor in C and what others would choose instead.

    make bench PART=gateway             everything, into docs/performance.md
    make bench PART=fanout              a part of it, into its place there
    make bench PART=fanout FAST=1       a little of it, printed only

Parts: fanout, growth, connect, memory, pairs, delays, profile, quiet. Beside the CPU of the servers
stands the load generator's: one that needs a whole core has measured itself. Whatever else the
machine does shows: compare within a table, and look at ratios rather than at microseconds.
"""

from __future__ import annotations

import argparse
import signal
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

from infra.stack import programs
from tests.benchmarks import report
from tests.benchmarks.bars import bars
from tests.benchmarks.gateway import ours
from tests.benchmarks.gateway.hot_paths import profile
from tests.benchmarks.gateway.ours import World
from tests.benchmarks.gateway.pairs_table import delays, pairs
from tests.benchmarks.gateway.rooms_table import fanout, growth
from tests.benchmarks.gateway.sockets_table import connect, memory, quiet
from tests.benchmarks.gateway.tables import Table
from tests.benchmarks.gateway.versions import versions
from tests.benchmarks.plot import waiting_times

#: Heading and tables of each part.
PARTS: dict[str, tuple[str, Callable[[World], Iterator[Table]]]] = {
    "fanout": ("The gateway: one to many", fanout),
    "growth": ("The gateway: more of everything", growth),
    "connect": ("The gateway: arrivals", connect),
    "memory": ("The gateway: memory", memory),
    "pairs": ("The gateway: one to one", pairs),
    "delays": ("The gateway: delays", delays),
    "profile": ("The gateway: where the CPU goes", profile),
    "quiet": ("The gateway: thousands of sockets", quiet),
}


def picture(table: Table) -> str | None:
    """Draw what a table has to be drawn."""
    if table.bars:
        return bars(f"{table.title}: CPU", table.bars)
    if table.waits:
        return waiting_times(table.title, table.waits, target=table.allowed)
    return None


def main() -> int:
    """Measure, and write the page; returns the exit status."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--fast", action="store_true", help="a little, and the page is left alone")
    parser.add_argument("--part", choices=PARTS, help="only this")
    given = parser.parse_args()
    programs.require((*programs.COMPILER_PACKAGES, "redis-server", "nginx", "node", "npm"))
    # Ended like that it still stops what it has started.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))
    good = True
    with (
        tempfile.TemporaryDirectory(prefix="drawbridge-bench-") as name,
        ours.world(Path(name), fast=given.fast) as world,
    ):
        for part in [given.part] if given.part else PARTS:
            title, measure = PARTS[part]
            tables = list(measure(world))
            drawn = {table.title: picture(table) for table in tables}
            report.show(
                title,
                [(table.title, table.rows) for table in tables],
                save=not given.fast,
                pictures={name: svg for name, svg in drawn.items() if svg},
                notes=(f"`make bench PART={part}`. {versions()}.",),
            )
            good = good and all(row.good for table in tables for row in table.rows)
    return 0 if good else 1


if __name__ == "__main__":
    sys.exit(main())
