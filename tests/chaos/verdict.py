"""What a checker finds: how much it has looked at, and what should not have been."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field

from tests.chaos.history import Event, Fault

_BEFORE_SECONDS = 5.0
_AFTER_SECONDS = 1.0
_MOST_LINES = 40


@dataclass(frozen=True, slots=True, kw_only=True)
class Violation:
    """A promise that was broken.

    Attributes:
        promise: Its number in the design, 1 to 6.
        rule: Which part of it.
        at: When it was seen.
        text: What was seen.
        client: By whom; empty: by nobody in particular.
        channel: Where; empty: nowhere in particular.
    """

    promise: int
    rule: str
    at: float
    text: str
    client: str = ""
    channel: str = ""


@dataclass(slots=True)
class Verdict:
    """The whole of it.

    Attributes:
        violations: What was broken.
        counts: What was looked at, and how often.
    """

    violations: list[Violation] = field(default_factory=list)
    counts: Counter[str] = field(default_factory=Counter)

    def add(
        self, promise: int, rule: str, at: float, text: str, *, client: str = "", channel: str = ""
    ) -> None:
        """Note a violation; see its attributes."""
        self.violations.append(
            Violation(promise=promise, rule=rule, at=at, text=text, client=client, channel=channel)
        )

    def join(self, other: Verdict) -> None:
        """Add what another part has found."""
        self.violations += other.violations
        self.counts.update(other.counts)

    @property
    def first(self) -> Violation | None:
        """What was broken first."""
        return min(self.violations, key=lambda violation: violation.at, default=None)


def timeline(events: Sequence[Event], violation: Violation) -> list[str]:
    """Tell what the client saw before a violation, and which faults there were.

    Args:
        events: The whole history, in order.
        violation: What to explain.
    """
    begin, end = violation.at - _BEFORE_SECONDS, violation.at + _AFTER_SECONDS
    lines = []
    for event in events:
        if isinstance(event, Fault):
            if event.at <= end and event.healed >= begin:
                span = f"{event.at:.3f} to {event.ended:.3f}, well at {event.healed:.3f}"
                lines.append((event.at, f"{event.kind} of {event.target or 'all'}: {span}"))
            continue
        if not begin <= event.at <= end:
            continue
        concerned = {getattr(event, "client", None), getattr(event, "channel", None)}
        mine = violation.client in concerned if violation.client else violation.channel in concerned
        if mine:
            lines.append((event.at, repr(event)))
    lines.sort()
    shown = [f"{at - violation.at:+9.3f} s  {text}" for at, text in lines]
    return shown if len(shown) <= _MOST_LINES else ["…", *shown[-_MOST_LINES:]]
