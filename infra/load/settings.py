"""What may be chosen for a load test.

``SCENARIO`` (``chat``, ``room``, ``storm``, ``slow`` or ``stream``), ``USERS``, ``RATE`` (users
started in a second), ``TIME`` (``60s``, ``5m``), ``ROOM`` (users of one room), ``EVERY`` (seconds
between two publications of a user), ``SIZE`` (characters of their text), ``WORKERS`` (processes),
``HOST`` (``wss://host:port``) and ``TOKENS`` (``header`` or ``connect``: how a token travels).
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass

HEADER, CONNECT = "header", "connect"
CHAT, ROOM, STORM, SLOW, STREAM = SCENARIOS = ("chat", "room", "storm", "slow", "stream")
# Of a big room so many speak; one user in so many stops reading; an answer has so many parts.
SPEAKERS, SLOW_SHARE, PARTS = 5, 10, 50
SETTLE_SECONDS = 5.0
# Its processes speak every three seconds.
REPORT_SECONDS = 8.0
MAX_SECONDS = 12 * 3600
USERS, RATE, SECONDS, MEMBERS, EVERY, SIZE, WORKERS = 500, 50, 60, 20, 5.0, 64, 2
# What a scenario has in place of these, where nothing is chosen.
_MEMBERS = {STREAM: 2}
_EVERY = {ROOM: 1.0, SLOW: 2.0}
_SIZE = {SLOW: 16384, STREAM: 8}
_MAX_SIZE = 60_000
# Everybody comes back in this time, or the scenario has not shown it.
_STORM_SECONDS = 5
_UNITS = {"": 1, "s": 1, "m": 60, "h": 3600}


class LoadError(Exception):
    """The test cannot be run; the text is the line to show."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """One load test.

    Attributes:
        scenario: What the users do.
        users: How many.
        rate: How many of them start in a second.
        seconds: How long they come and publish.
        room: How many share a room.
        every: Seconds between two publications of a user.
        size: Characters of the text in a publication.
        workers: Processes they are spread over.
        host: Of the front, with scheme and port.
        travel: How the token travels: ``header`` or ``connect``.
        settle: Seconds for which what was said last is awaited.
        report: Seconds for goodbyes, and for locust's processes to tell one another.
    """

    scenario: str = CHAT
    users: int = USERS
    rate: int = RATE
    seconds: int = SECONDS
    room: int = MEMBERS
    every: float = EVERY
    size: int = SIZE
    workers: int = WORKERS
    host: str
    travel: str = HEADER
    settle: float = SETTLE_SECONDS
    report: float = REPORT_SECONDS

    @property
    def steady_from(self) -> float:
        """The second from which all users are there and have begun to publish."""
        return self.users / self.rate + self.every

    @property
    def storm_at(self) -> float:
        """The second in which everybody is cut off, in the scenario of that name."""
        return (self.steady_from + self.seconds) / 2

    @property
    def run_seconds(self) -> int:
        """How long locust runs."""
        return math.ceil(self.seconds + self.settle + self.report)


def read(environment: Mapping[str, str], *, host: str) -> Plan:
    """Read the plan.

    Args:
        environment: Of the caller; an empty variable counts as none.
        host: Of the stack on this machine.

    Raises:
        LoadError: A variable is wrong; the line names it.
    """
    scenario = environment.get("SCENARIO") or CHAT
    if scenario not in SCENARIOS:
        raise LoadError(f"SCENARIO: must be one of {', '.join(SCENARIOS)}")
    users = _number(environment, "USERS", USERS, 50_000)
    workers = _number(environment, "WORKERS", WORKERS, 64)
    members = math.ceil(users / workers) if scenario == ROOM else _MEMBERS.get(scenario, MEMBERS)
    plan = Plan(
        scenario=scenario,
        users=users,
        rate=_number(environment, "RATE", RATE, 10_000),
        seconds=_seconds(environment),
        room=_number(environment, "ROOM", members, 50_000),
        every=_every(environment, _EVERY.get(scenario, EVERY)),
        size=_number(environment, "SIZE", _SIZE.get(scenario, SIZE), _MAX_SIZE),
        workers=workers,
        host=_host(environment.get("HOST") or host),
        travel=environment.get("TOKENS") or HEADER,
    )
    if plan.travel not in {HEADER, CONNECT}:
        raise LoadError(f"TOKENS: must be {HEADER} or {CONNECT}")
    if plan.workers > plan.users:
        raise LoadError("WORKERS: must not be more than USERS")
    if plan.seconds <= plan.steady_from:
        raise LoadError(
            f"TIME: must be more than {plan.steady_from:g}s, for until then users still come "
            "(USERS / RATE + EVERY)"
        )
    if scenario == STORM and plan.seconds - plan.storm_at < _STORM_SECONDS:
        least = plan.steady_from + 2 * _STORM_SECONDS
        raise LoadError(f"TIME: must be at least {least:g}s, so that all come back in it")
    return plan


def _number(environment: Mapping[str, str], variable: str, default: int, high: int) -> int:
    text = environment.get(variable) or str(default)
    if not re.fullmatch(r"[0-9]{1,6}", text) or not 1 <= int(text) <= high:
        raise LoadError(f"{variable}: must be a whole number between 1 and {high}")
    return int(text)


def _seconds(environment: Mapping[str, str]) -> int:
    match = re.fullmatch(r"([0-9]{1,5})([smh]?)", environment.get("TIME") or str(SECONDS))
    seconds = int(match[1]) * _UNITS[match[2]] if match else 0
    if not 1 <= seconds <= MAX_SECONDS:
        raise LoadError("TIME: must be like 60s or 5m, and 12h at most")
    return seconds


def _every(environment: Mapping[str, str], default: float) -> float:
    text = environment.get("EVERY") or str(default)
    match = re.fullmatch(r"([0-9]{1,4}(?:\.[0-9]{1,3})?)s?", text)
    if match is None or not float(match[1]):
        raise LoadError("EVERY: must be seconds, like 5 or 0.5")
    return float(match[1])


def _host(text: str) -> str:
    if not re.fullmatch(r"wss://(?:[A-Za-z0-9.-]+|\[[0-9a-fA-F:]+\])(?::[0-9]{1,5})?", text):
        raise LoadError("HOST: must be like wss://localhost:8443")
    return text
