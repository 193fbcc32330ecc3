"""The load generator: a C program, compiled when it is needed, and driven line by line."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Self

from infra.stack import programs
from tests.benchmarks.gateway.dialect import Dialect

HERE = Path(__file__).parent
BUILD = Path("build/bench")
_SOURCES = {"generator": ("generator.c", "sockets.c"), "floor": ("floor.c",)}
#: How many handshakes are under way at the same time, unless all are to come at once.
INFLIGHT = 32


def build(program: str) -> Path:
    """Compile one of the two C programs, unless it is newer than its sources; returns its path.

    Raises:
        StackError: There is no compiler; the text says how to get one.
    """
    (compiler,) = programs.COMPILER_PACKAGES
    programs.require([compiler])
    target = BUILD / program
    sources = [HERE / name for name in _SOURCES[program]]
    newest = max(path.stat().st_mtime for path in [*sources, *HERE.glob("*.h")])
    if not target.exists() or target.stat().st_mtime < newest:
        BUILD.mkdir(parents=True, exist_ok=True)
        fresh = target.with_suffix(".new")
        command = [programs.find(compiler), "-O2", "-o", str(fresh), *map(str, sources)]
        subprocess.run(command, check=True)  # noqa: S603 - our own words only
        fresh.rename(target)
    return target


@dataclass(frozen=True, slots=True)
class Opened:
    """What became of handshakes.

    Attributes:
        opened: How many sockets are open, with what they were to say said and confirmed.
        failed: How many were refused, or closed.
        unanswered: How many waited in vain.
        seconds: How long it took.
        cpu: The generator's CPU seconds.
        last_status: The HTTP status of the last refusal; 0 if there was none.
    """

    opened: int
    failed: int
    unanswered: int
    seconds: float
    cpu: float
    last_status: int


@dataclass(frozen=True, slots=True)
class Delivered:
    """What became of publications.

    Attributes:
        sent: How many were sent.
        delivered: How many deliveries there were of all of them.
        replies: How many were confirmed to their sender, where the server does that.
        seconds: From the first one sent to the last delivery.
        cpu: The generator's CPU seconds.
        late_us: By how many microseconds the generator was behind its own schedule, at worst.
        longest_us: The longest delivery in microseconds, from when it was to be sent.
        histogram: Microseconds → deliveries.
    """

    sent: int
    delivered: int
    replies: int
    seconds: float
    cpu: float
    late_us: int
    longest_us: int
    histogram: dict[int, int] = field(repr=False)

    @classmethod
    def read(cls, answer: dict[str, Any]) -> Self:
        """Read the generator's answer."""
        counts = {int(value): count for value, count in answer.pop("histogram").items()}
        return cls(**answer, histogram=counts)


class Generator:
    """One process with the sockets of up to eight groups."""

    def __init__(self) -> None:
        self._process = subprocess.Popen(  # noqa: S603 - our own words only
            [str(build("generator"))], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        self._process.communicate()

    def tell(self, *words: object) -> None:
        """Begin a command; `answer` has what comes of it."""
        assert self._process.stdin is not None
        self._process.stdin.write(" ".join(map(str, words)) + "\n")
        self._process.stdin.flush()

    def answer(self) -> dict[str, Any]:
        """Wait for the end of a command."""
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        assert line, f"the generator ended: {self._process.wait()}"
        return dict(json.loads(line))

    def ask(self, *words: object) -> dict[str, Any]:
        """Execute a command."""
        self.tell(*words)
        return self.answer()

    def group(self, number: int, port: int, dialect: Dialect, tokens: Path | None = None) -> None:
        """Describe sockets; see the generator's source."""
        parts = (dialect.head(port), dialect.hello, dialect.ready, dialect.refused)
        more = (dialect.ping, dialect.pong, dialect.reply)
        self.ask(
            *("group", number, port, tokens or "-", int(dialect.binary), dialect.ready_times),
            *map(_hex, parts + more),
        )

    def open(
        self, number: int, count: int, *, inflight: int = INFLIGHT, awake: bool = False
    ) -> Opened:
        """Open more sockets of a group.

        Args:
            number: The group.
            count: How many.
            inflight: How many at the same time.
            awake: Whether the generator never sleeps meanwhile.
        """
        return Opened(**self.ask("open", number, count, inflight, int(awake)))

    def publish(self, number: int, message: bytes, **words: Any) -> Delivered:  # noqa: ANN401 - see there
        """Publish as `begin_publishing` says, and wait for the end of it."""
        self.begin_publishing(number, message, **words)
        return self.published()

    def begin_publishing(
        self,
        number: int,
        message: bytes,
        *,
        expect: int,
        rounds: int,
        batch: int = 1,
        interval_us: int = 0,
        senders: Iterable[int] = (0,),
        gated: bool = False,
        awake: bool = False,
    ) -> None:
        """Publish; `published` has what comes of it.

        Args:
            number: The group that sends.
            message: What, with the marks of `Dialect`.
            expect: How many deliveries of each.
            rounds: How often.
            batch: How many messages in one write.
            interval_us: From one round to the next.
            senders: Adjacent sockets of the group, which take turns.
            gated: Whether a round waits for the deliveries of the one before.
            awake: Whether the generator never sleeps until such a round is over.
        """
        turns = list(senders)
        words = (turns[0], len(turns), rounds, batch, interval_us, expect, int(gated), int(awake))
        self.tell("publish", number, *words, _hex(message))

    def published(self) -> Delivered:
        """Wait for the end of what was published."""
        return Delivered.read(self.answer())


def _hex(text: bytes) -> str:
    return text.hex() or "-"
