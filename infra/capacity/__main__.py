"""``python -m infra.capacity [CONNECTIONS ...]``: a table of what that many connections need."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence

from infra.capacity.model import MIB, Limits, Load, Need, need

USUAL = (10_000, 100_000, 1_000_000, 10_000_000)
EXIT_REFUSED = 2
_HEAD = (
    "| connections | gateways | core of each | memory of each | all come back in | one Redis "
    "| nginx | memory of each | auth |\n"
    "| --- | --- | --- | --- | --- | --- | --- | --- | --- |\n"
)


def table(loads: Sequence[Load], limits: Limits) -> str:
    """Write what each load needs, as Markdown."""
    return _HEAD + "".join(_row(load, need(load, limits)) for load in loads)


def main(arguments: Sequence[str] | None = None) -> int:
    """Print the table; returns the exit status."""
    usual, full = Load(connections=1), Limits()
    parser = argparse.ArgumentParser(prog="python -m infra.capacity", description=main.__doc__)
    parser.add_argument("connections", nargs="*", type=int, default=USUAL)
    parser.add_argument("--publications", type=float, default=usual.publications)
    parser.add_argument("--room", type=int, default=usual.room)
    parser.add_argument("--token-seconds", type=float, default=usual.token_seconds)
    parser.add_argument("--per-gateway", type=int, default=full.per_gateway)
    parser.add_argument("--balanced", action="store_true")
    given = parser.parse_args(arguments)
    sizes = (*given.connections, given.room, given.per_gateway, given.token_seconds)
    if min(sizes) <= 0 or given.publications < 0:
        sys.stderr.write("numbers are positive\n")
        return EXIT_REFUSED
    loads = [
        Load(
            connections=number,
            publications=given.publications,
            room=given.room,
            token_seconds=given.token_seconds,
        )
        for number in given.connections
    ]
    sys.stdout.write(table(loads, Limits(per_gateway=given.per_gateway, balanced=given.balanced)))
    return 0


def _row(load: Load, found: Need) -> str:
    # What is above this is no longer served by one; see docs/operations.md.
    redis = f"{found.redis_busy:.1%}" if found.redis_busy <= 1 else f"**{found.redis_busy:.0%}**"
    cells = (
        f"{load.connections:,}",
        f"{found.gateways:,}",
        f"{found.gateway_busy:.1%}",
        f"{found.gateway_bytes / MIB:.0f} MiB",
        f"{found.return_seconds:.0f} s",
        redis,
        f"{found.fronts:,}",
        f"{found.front_bytes / MIB:,.0f} MiB",
        f"{found.auths:,}",
    )
    return f"| {' | '.join(cells)} |\n"


if __name__ == "__main__":
    sys.exit(main())
