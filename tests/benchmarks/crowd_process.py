"""One process of a crowd: it gets a plan, and says every few seconds what has happened."""

from __future__ import annotations

import json
import subprocess
import sys
import threading
from collections import Counter
from dataclasses import asdict, dataclass, field
from typing import IO, Any


@dataclass(slots=True)
class Told:
    """What one process of the crowd has said.

    Attributes:
        last: The newest report.
        delays: All delays since the crowd is complete.
        lately: Those since they were last taken.
        news: Set with every report.
    """

    last: dict[str, Any] = field(default_factory=dict)
    delays: Counter[int] = field(default_factory=Counter)
    lately: Counter[int] = field(default_factory=Counter)
    news: threading.Event = field(default_factory=threading.Event)


class Member:
    """One process of the crowd.

    Args:
        program: The module that it runs.
        plan: A dataclass, for its clients.
    """

    def __init__(self, program: str, plan: Any) -> None:  # noqa: ANN401 - of any kind
        self.told = Told()
        self.process = subprocess.Popen(  # noqa: S603 - our own words
            [sys.executable, "-m", program],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
        )
        self.say(json.dumps(asdict(plan)))
        assert self.process.stdout is not None
        self._reading = threading.Thread(target=self._read, args=(self.process.stdout,))
        self._reading.start()

    def say(self, line: str = "") -> None:
        """Let it go on."""
        assert self.process.stdin is not None
        self.process.stdin.write(line.encode() + b"\n")
        self.process.stdin.flush()

    def end(self) -> None:
        """Wait for it."""
        self.process.wait(60)
        self._reading.join()

    def _read(self, lines: IO[bytes]) -> None:
        for line in lines:
            said = json.loads(line)
            delays = Counter({int(delay): count for delay, count in said["delays"].items()})
            self.told.last = said
            self.told.delays += delays
            self.told.lately += delays
            self.told.news.set()
