"""``make bench``: runs what is chosen, one program after the other.

    python -m tests.benchmarks [--fast] [PART]

A part is one of the programs, or a part of the gateway's.
"""

from __future__ import annotations

import argparse
import subprocess
import sys

from tests.benchmarks.bench_gateway import PARTS

PROGRAMS = ("auth", "revocation", "gateway")
LONG = ("wss", "soak", "restart")
"""Take a quarter of an hour or so, and so are for who asks for it."""


def commands(part: str, *, fast: bool) -> list[list[str]]:
    """Return what is to be run for a part; for all programs if it is empty."""
    chosen = [part] if part in (*PROGRAMS, *LONG) else ["gateway"] if part else list(PROGRAMS)
    more = [*(["--fast"] if fast else []), *(["--part", part] if part in PARTS else [])]
    return [[sys.executable, "-m", f"tests.benchmarks.bench_{name}", *more] for name in chosen]


def main() -> int:
    """Run; returns 0 if all targets were met."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--fast", action="store_true", help="a little, and the page is left alone")
    parser.add_argument("part", nargs="?", default="", choices=("", *PROGRAMS, *LONG, *PARTS))
    given = parser.parse_args()
    orders = commands(given.part, fast=given.fast)
    done = [subprocess.run(order, check=False) for order in orders]  # noqa: S603 - our own words
    return max(one.returncode for one in done)


if __name__ == "__main__":
    sys.exit(main())
