"""Which faults happen when: drawn from a seed, the same every time."""

from __future__ import annotations

import random
from collections.abc import Collection
from dataclasses import dataclass
from enum import StrEnum

GATEWAYS = 3
SPACING_SECONDS = (3.0, 6.0)
"""Between the beginnings of two faults: on average 26 in two minutes, so that some meet."""


class Kind(StrEnum):
    """What can happen."""

    GATEWAY_KILL = "gateway kill -9"
    GATEWAY_TERM = "gateway SIGTERM"
    GATEWAY_PAUSE = "gateway paused"
    REDIS_RESTART = "redis restart, data kept"
    REDIS_EMPTY = "redis restart, data gone"
    REDIS_TAIL = "redis restart, tail lost"
    REDIS_FAILOVER = "redis master kill -9, failover"
    REDIS_HANDOVER = "redis failover, ordered"
    REDIS_PAUSE = "redis paused"
    REDIS_CUT = "redis network cut"
    REDIS_SLOW = "redis network slow"
    REDIS_SILENT = "redis network silent"
    CLIENT_CUT = "client network cut"
    CLIENT_SLOW = "client network slow"
    NGINX_RELOAD = "nginx reload"
    SLOW_READER = "slow reader"
    REVOKE_TOKEN = "token revoked"
    REVOKE_SESSION = "session ended"
    KEY_ROTATION = "signing key rotated"
    AUTH_RESTART = "auth restart"
    AUTH_CLOCK = "auth clock offset"
    ROLLING_RESTART = "rolling restart"
    VERSION_BESIDE = "previous version beside"


LOSES_DATA = frozenset(
    {Kind.REDIS_EMPTY, Kind.REDIS_TAIL, Kind.REDIS_FAILOVER, Kind.REDIS_HANDOVER}
)
"""A replica may be behind its master by what was acknowledged last."""
_REDIS = frozenset(
    {
        Kind.REDIS_RESTART,
        Kind.REDIS_EMPTY,
        Kind.REDIS_TAIL,
        Kind.REDIS_FAILOVER,
        Kind.REDIS_HANDOVER,
        Kind.REDIS_PAUSE,
        Kind.REDIS_CUT,
        Kind.REDIS_SLOW,
        Kind.REDIS_SILENT,
    }
)
OF_GATEWAYS = frozenset(
    {Kind.GATEWAY_KILL, Kind.GATEWAY_TERM, Kind.GATEWAY_PAUSE, Kind.VERSION_BESIDE}
)
# Of one link, or of all at once.
_LINKS = frozenset({Kind.REDIS_CUT, Kind.REDIS_SLOW, Kind.REDIS_SILENT})
_OF_ONE_SERVER = _LINKS | {Kind.REDIS_RESTART, Kind.REDIS_EMPTY, Kind.REDIS_TAIL}
_OF_SENTINELS = frozenset({Kind.REDIS_FAILOVER, Kind.REDIS_HANDOVER})
_SENTINELS_EVERY = 3


def has_sentinels(seed: int) -> bool:
    """Say whether Redis is a master, a replica and three sentinels in this run."""
    return seed % _SENTINELS_EVERY == 0


def possible(seed: int, *, previous: bool) -> frozenset[Kind]:
    """Return what can happen in the world of a seed.

    Args:
        seed: Of the run.
        previous: A previous version is at hand.
    """
    without = _OF_ONE_SERVER if has_sentinels(seed) else _OF_SENTINELS
    return frozenset(Kind) - without - (frozenset() if previous else {Kind.VERSION_BESIDE})


@dataclass(frozen=True, slots=True)
class Planned:
    """A fault to come.

    Attributes:
        at: Seconds after the beginning.
        kind: What.
        target: Which gateway, from 0; -1: all of them, or it is about none.
        seconds: How long it lasts, where it does.
        amount: How much, from 0 to 1, where there is a choice.
    """

    at: float
    kind: Kind
    target: int
    seconds: float
    amount: float


def plan(seed: int, seconds: float, kinds: Collection[Kind] = tuple(Kind)) -> list[Planned]:
    """Draw the faults of a run; every kind once before any comes twice.

    Args:
        seed: The same seed gives the same faults.
        seconds: How long faults may begin.
        kinds: Which may be drawn.
    """
    chance = random.Random(seed)  # noqa: S311 - to be repeatable
    planned: list[Planned] = []
    deck: list[Kind] = []
    at = chance.uniform(*SPACING_SECONDS)
    while at < seconds:
        if not deck:
            deck = sorted(kinds)
            chance.shuffle(deck)
        kind = deck.pop()
        planned.append(
            Planned(
                at=round(at, 3),
                kind=kind,
                target=_target(kind, chance),
                seconds=round(chance.uniform(0.3, 4.0), 3),
                amount=round(chance.random(), 3),
            )
        )
        at += chance.uniform(*SPACING_SECONDS)
    return planned


def _target(kind: Kind, chance: random.Random) -> int:
    if kind in OF_GATEWAYS:
        return chance.randrange(GATEWAYS)
    if kind in _LINKS:
        return chance.randrange(-1, GATEWAYS)
    return -1


def touches_redis(kind: str) -> bool:
    """Say whether gateways may be unable to read what is in Redis meanwhile."""
    return kind in _REDIS
