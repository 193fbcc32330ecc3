"""One publisher and a room: what a delivery costs a server, beside the floor of the same minute."""

from __future__ import annotations

from contextlib import ExitStack
from dataclasses import dataclass, field

from tests.benchmarks.gateway.accounting import Spread, merged, percentile, ratios
from tests.benchmarks.gateway.generator import Delivered, Generator
from tests.benchmarks.gateway.ours import Kind
from tests.benchmarks.gateway.servers import Server, floor

RECEIVERS, SENDER = 0, 1
#: So that one publication is over, for most servers, when the next is due.
_INTERVAL_US = 20_000
_WARM_UP = 5
_CHEAPER = 4


@dataclass(slots=True)
class Runs:
    """Repeated runs of one server.

    Attributes:
        name: Of the server.
        cpu: CPU seconds of each delivery, a run each.
        generator: The generator's share of a core.
        lost: Deliveries that did not come.
        histograms: Microseconds → deliveries, a run each.
    """

    name: str
    cpu: list[float] = field(default_factory=list)
    generator: list[float] = field(default_factory=list)
    lost: int = 0
    histograms: list[dict[int, int]] = field(default_factory=list)

    def quantile_ms(self, share: float) -> float:
        """Return the milliseconds that this share of all deliveries took at most."""
        return percentile(merged(self.histograms), share) / 1e3


@dataclass(slots=True)
class Comparison:
    """A server and the floor, which took turns.

    Attributes:
        server: The one.
        floor: The other, with one publication at a time.
    """

    server: Runs
    floor: Runs

    @property
    def ratio(self) -> Spread:
        """How many times the floor a delivery costs."""
        return ratios(self.server.cpu, self.floor.cpu)


class Room:
    """A server with a full room.

    Args:
        stack: Ends the generator.
        server: Which.
        size: How many receive.
    """

    def __init__(self, stack: ExitStack, server: Server, size: int) -> None:
        self._server = server
        self._generator = stack.enter_context(Generator())
        port = server.ports[0]
        for group, dialect in ((RECEIVERS, server.receives), (SENDER, server.sends)):
            self._generator.group(group, port, dialect, server.tokens)
        for group, count in ((RECEIVERS, size), (SENDER, 1)):
            opened = self._generator.open(group, count)
            assert opened.opened == count, f"{server.name}: {opened}"
        self._expect = size + server.sends.echoes
        self.runs = Runs(server.name)
        self._publish(_WARM_UP, 1)

    def _publish(self, rounds: int, batch: int) -> Delivered:
        return self._generator.publish(
            SENDER,
            self._server.sends.message,
            expect=self._expect,
            rounds=rounds,
            batch=batch,
            interval_us=_INTERVAL_US,
            gated=True,
        )

    def run(self, rounds: int, batch: int = 1) -> None:
        """Publish, and note what it took.

        Args:
            rounds: How often.
            batch: How many publications in one write.
        """
        before = self._server.cpu
        done = self._publish(rounds, batch)
        used = self._server.cpu - before
        assert done.delivered, f"{self._server.name}: nothing was delivered"
        self.runs.cpu.append(used / done.delivered)
        self.runs.generator.append(done.cpu / done.seconds)
        self.runs.lost += done.sent * self._expect - done.delivered
        self.runs.histograms.append(done.histogram)


def compare(kind: Kind, *, size: int, deliveries: int, repeat: int, batch: int = 1) -> Comparison:
    """Let a server and the floor take turns.

    Args:
        kind: Of server.
        size: How many receive.
        deliveries: In each turn.
        repeat: How many turns each has.
        batch: How many publications are ready together; the floor has one at a time.
    """
    with ExitStack() as stack:
        ground = Room(stack, stack.enter_context(floor()), size)
        room = Room(stack, stack.enter_context(kind.start()), size)
        for _ in range(repeat):
            ground.run(max(2, deliveries // size))
            # They are cheaper together: more of them, to be seen by the kernel's clock.
            room.run(max(2, deliveries * min(batch, _CHEAPER) // size // batch), batch)
        return Comparison(room.runs, ground.runs)
