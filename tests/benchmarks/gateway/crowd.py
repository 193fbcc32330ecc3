"""Sockets of one server that come, stay silent, and go."""

from __future__ import annotations

import time
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path

from tests.benchmarks.gateway.accounting import cpu_of
from tests.benchmarks.gateway.generator import INFLIGHT, Generator, Opened
from tests.benchmarks.gateway.servers import Server

GROUP = 0
_QUIET_SECONDS = 0.3
#: Seconds of CPU in that time; pings go on.
_NEXT_TO_NOTHING = 0.02
_SETTLE_SECONDS = 20


class Crowd:
    """Sockets of one server.

    Args:
        stack: Ends the generator.
        server: Which.
        tokens: In place of the server's; one a line.
    """

    def __init__(self, stack: ExitStack, server: Server, tokens: Path | None = None) -> None:
        self.generator = stack.enter_context(Generator())
        self.server = server
        self.bring(tokens or server.tokens)

    def bring(self, tokens: Path | None) -> None:
        """Choose the tokens of those who come next; nobody may be there."""
        self.generator.group(GROUP, self.server.ports[0], self.server.receives, tokens)

    def come(self, count: int, *, inflight: int = INFLIGHT, awake: bool = False) -> Opened:
        """Open sockets; all must be served."""
        opened = self.generator.open(GROUP, count, inflight=inflight, awake=awake)
        assert opened.opened == count, f"{self.server.name}: {opened}"
        return opened

    def go(self) -> None:
        """Close all, and wait until the server is through with that."""
        self.generator.ask("close", GROUP)
        settle(self.server.pids)


def settle(pids: Sequence[int]) -> None:
    """Wait until processes do next to nothing."""
    deadline = time.monotonic() + _SETTLE_SECONDS
    before = -1.0
    while (now := cpu_of(pids)) - before > _NEXT_TO_NOTHING and time.monotonic() < deadline:
        before = now
        time.sleep(_QUIET_SECONDS)
