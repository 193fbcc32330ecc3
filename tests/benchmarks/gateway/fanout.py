"""One publisher and a room: what a delivery costs a server, beside the floor of the same minute."""

from __future__ import annotations

from contextlib import ExitStack
from dataclasses import dataclass, field

from tests.benchmarks.gateway.accounting import Spread, merged, percentile, ratios
from tests.benchmarks.gateway.generator import Delivered, Generator
from tests.benchmarks.gateway.ours import Kind
from tests.benchmarks.gateway.servers import Server, floor

RECEIVERS, SENDER = 0, 1
#: Between publications, none of which is sent before the last one has reached everyone.
_INTERVAL_US = 10_000
_LEAST = 2
_FIRST_ALONE_MS = 300
_WARM_UP = 5
_CHEAPER = 4
_CHEAP_SECONDS = 20e-6


@dataclass(slots=True)
class Runs:
    """Repeated runs of one server.

    Attributes:
        cpu: CPU seconds of each delivery, a run each.
        generator: The generator's share of a core.
        lost: Deliveries that did not come.
        histograms: Microseconds → deliveries, a run each.
    """

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
        floor: The floor, with one publication at a time.
        alone: The server, in the same way.
        together: The server, with several that are ready together; None if that was not tried.
    """

    floor: Runs
    alone: Runs
    together: Runs | None = None

    def ratio(self, runs: Runs) -> Spread:
        """How many times the floor a delivery costs."""
        return ratios(runs.cpu, self.floor.cpu)


class Room:
    """A server with a full room.

    Args:
        stack: Ends the generator.
        server: Which.
        size: How many receive.
        awake: Whether the clients' process does not sleep while deliveries are on their way. Where
            it does, whoever sends has to wake it, which a client on another machine never costs,
            and the faster of two servers has to do it less often.
    """

    def __init__(self, stack: ExitStack, server: Server, size: int, *, awake: bool = True) -> None:
        self._server = server
        self._awake = awake
        self._generator = stack.enter_context(Generator())
        port = server.ports[0]
        for group, dialect in ((RECEIVERS, server.receives), (SENDER, server.sends)):
            self._generator.group(group, port, dialect, server.tokens)
        # The first one alone, and a moment for it: broadcaster forgets some of those who are the
        # first at the same time.
        assert self._generator.open(RECEIVERS, 1).opened == 1
        self._generator.ask("rest", _FIRST_ALONE_MS)
        for group, count in ((RECEIVERS, size - 1), (SENDER, 1)):
            opened = self._generator.open(group, count)
            assert opened.opened == count, f"{server.name}: {opened}"
        self._expect = size + server.sends.echoes
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
            awake=self._awake,
        )

    def run(self, runs: Runs, rounds: int, batch: int = 1) -> None:
        """Publish, and note what it took.

        Args:
            runs: Where.
            rounds: How often.
            batch: How many publications in one write.
        """
        before = self._server.cpu
        done = self._publish(max(_LEAST, rounds), batch)
        used = self._server.cpu - before
        assert done.delivered, f"{self._server.name}: nothing was delivered"
        runs.cpu.append(used / done.delivered)
        runs.generator.append(done.cpu / done.seconds)
        runs.lost += done.sent * self._expect - done.delivered
        runs.histograms.append(done.histogram)


def compare(
    kind: Kind,
    *,
    size: int,
    deliveries: int,
    repeat: int,
    together: int = 0,
    awake: bool = True,
) -> Comparison:
    """Let a server and the floor take turns.

    Args:
        kind: Of server.
        size: How many receive.
        deliveries: In each turn.
        repeat: How many turns each has.
        together: How many publications are ready together in another turn of the server; 0 for no
            such turn.
        awake: See `Room`.
    """
    found = Comparison(Runs(), Runs(), Runs() if together else None)
    with ExitStack() as stack:
        ground = Room(stack, stack.enter_context(floor()), size, awake=awake)
        room = Room(stack, stack.enter_context(kind.start()), size, awake=awake)
        for _ in range(repeat):
            ground.run(found.floor, deliveries // size)
            room.run(found.alone, deliveries // size)
            if found.together is not None:
                # Where they are cheap, more of them, to be seen by the kernel's clock.
                more = _CHEAPER if found.alone.cpu[0] < _CHEAP_SECONDS else 1
                room.run(found.together, more * deliveries // size // together, together)
    return found
