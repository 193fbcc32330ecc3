"""Where the CPU of the gateway's hot paths goes, by samples of its processes."""

from __future__ import annotations

import re
import shutil
import signal
import subprocess
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path

from tests.benchmarks.gateway import ours
from tests.benchmarks.gateway.accounting import Spread, cpu_of
from tests.benchmarks.gateway.crowd import Crowd
from tests.benchmarks.gateway.fanout import Room, Runs
from tests.benchmarks.gateway.ours import World
from tests.benchmarks.gateway.pairs import PER_SECOND, Pairs
from tests.benchmarks.gateway.tables import MICRO, Table
from tests.benchmarks.report import Row

SIZE, CAME = 1_000, 2_000
_LACKS = "not measured: perf is not installed (Debian's package linux-perf)"
_PER_SECOND = "2000"
_ATTACH_SECONDS = 1.0
_LINE = re.compile(r"\s*([0-9.]+)%\s+(\S.*\S)\s*")
#: What the names of program files begin with, and what they are to the reader.
_LAYERS = (
    ("[", "kernel"),
    ("loop.cpython", "uvloop"),
    ("libpython", "Python: the interpreter, with our code"),
    ("python3", "Python: the interpreter, with our code"),
    ("_asyncio", "Python: the interpreter, with our code"),
    ("_rust", "cryptography"),
    ("libcrypto", "cryptography"),
    ("_core.cpython", "msgspec"),
    ("hiredis", "hiredis"),
    ("parser.cpython", "httptools"),
    ("libc.", "C library"),
)
_REST = "the rest"


def layers(report: str) -> dict[str, float]:
    """Sum up what ``perf report --sort dso`` has printed.

    Args:
        report: Its text.

    Returns:
        Shares of 1 by layer, the largest first.
    """
    found: dict[str, float] = {}
    for line in report.splitlines():
        match = _LINE.fullmatch(line)
        if match:
            names = (layer for prefix, layer in _LAYERS if match[2].startswith(prefix))
            layer = next(names, _REST)
            found[layer] = found.get(layer, 0.0) + float(match[1]) / 100
    return dict(sorted(found.items(), key=lambda one: -one[1]))


@contextmanager
def _sampled(pids: Sequence[int], file: Path) -> Iterator[None]:
    """Take samples of processes meanwhile."""
    words = ["perf", "record", "-q", "-F", _PER_SECOND, "-e", "cpu-clock", "-o", str(file)]
    process = subprocess.Popen(  # noqa: S603 - our own words only
        [*words, "-p", ",".join(map(str, pids))],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    # It does not say when it has begun.
    time.sleep(_ATTACH_SECONDS)
    try:
        yield
    finally:
        process.send_signal(signal.SIGINT)
        process.wait(30)


def profile(world: World) -> Iterator[Table]:
    """Deliveries to many, messages between two, and arrivals."""
    for title, unit, run in (
        (f"One publisher, {SIZE:,} receive: a delivery", "a delivery", _deliveries),
        ("One to one through Redis: a message at both gateways", "a message", _messages),
        ("One to one with history", "a message", _messages_with_history),
        ("Arrivals with tokens that are new", "a connection", _arrivals),
        ("Arrivals with tokens seen before", "a connection", _known_arrivals),
    ):
        table = Table(title)
        perf = shutil.which("perf")
        if perf is None:
            table.rows.append(Row(title, _LACKS, True, ""))
            yield table
            continue
        file = world.directory / "perf.data"
        cost = run(world, file)
        text = subprocess.run(  # noqa: S603 - our own words only
            [perf, "report", "-i", str(file), "--stdio", "--sort", "dso"],
            check=True,
            capture_output=True,
            text=True,
        ).stdout
        for layer, share in layers(text).items():
            figure = f"{share * cost * MICRO:.2f} µs {unit}, {share:.0%}"
            table.rows.append(Row(layer, figure, True, ""))
            table.bars[layer] = Spread.of([share * cost])
        yield table


def _deliveries(world: World, file: Path) -> float:
    with ExitStack() as stack:
        server = stack.enter_context(ours.drawbridge(world).start())
        room = Room(stack, server, SIZE)
        runs = Runs()
        with _sampled(server.pids, file):
            room.run(runs, world.choose(500, 50))
        return runs.cpu[0]


def _messages(world: World, file: Path, namespace: str = "room") -> float:
    with ExitStack() as stack:
        pairs = Pairs(stack, world, namespace=namespace)
        with _sampled(pairs.gateways, file):
            before = cpu_of(pairs.gateways)
            done = pairs.talk(world.choose(5, 1) * PER_SECOND, PER_SECOND)
            return (cpu_of(pairs.gateways) - before) / done.delivered


def _messages_with_history(world: World, file: Path) -> float:
    return _messages(world, file, "kept")


def _arrivals(world: World, file: Path) -> float:
    return _come(world, file, lambda crowd, came: crowd.bring(world.issuer.tokens(came)))


def _known_arrivals(world: World, file: Path) -> float:
    return _come(world, file, lambda _crowd, _came: None)


def _come(world: World, file: Path, renew: Callable[[Crowd, int], None]) -> float:
    came = world.choose(CAME, CAME // 4)
    with ExitStack() as stack:
        server = stack.enter_context(ours.present(world, None).start())
        crowd = Crowd(stack, server)
        crowd.bring(world.issuer.tokens(came))
        crowd.come(came)
        crowd.go()
        renew(crowd, came)
        with _sampled(server.pids, file):
            before = server.cpu
            crowd.come(came, awake=True)
            return (server.cpu - before) / came
