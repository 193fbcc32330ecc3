"""The plan of a run."""

from __future__ import annotations

from collections import Counter

from tests.chaos.schedule import GATEWAYS, Kind, has_sentinels, plan, possible


def test_a_seed_is_a_plan() -> None:
    """The same every time, and another than that of another seed."""
    assert plan(7, 120) == plan(7, 120)
    assert plan(7, 120) != plan(8, 120)


def test_two_minutes_have_twenty_faults_at_least() -> None:
    """Whatever the seed."""
    assert min(len(plan(seed, 120)) for seed in range(200)) >= 20


def test_ten_seeds_have_every_kind() -> None:
    """Each several times, whichever Redis it is about; another version needs to be there."""
    kinds = Counter(
        planned.kind
        for seed in range(1, 11)
        for planned in plan(seed, 120, possible(seed, previous=True))
    )

    assert set(kinds) == set(Kind)
    assert min(kinds.values()) >= 2


def test_a_world_has_only_faults_that_it_can_have() -> None:
    """Sentinels choose among two; the files of one are cut."""
    for seed in range(1, 11):
        kinds = possible(seed, previous=False)

        assert (Kind.REDIS_FAILOVER in kinds) == has_sentinels(seed)
        assert (Kind.REDIS_TAIL in kinds) != has_sentinels(seed)
        assert Kind.VERSION_BESIDE not in kinds


def test_a_plan_has_only_what_was_asked_for() -> None:
    """And targets that there are."""
    planned = plan(1, 600, {Kind.GATEWAY_KILL, Kind.REDIS_CUT})

    assert {one.kind for one in planned} == {Kind.GATEWAY_KILL, Kind.REDIS_CUT}
    assert {one.target for one in planned} == {-1, *range(GATEWAYS)}
    assert all(0 < one.seconds <= 4 and 0 <= one.amount <= 1 for one in planned)
