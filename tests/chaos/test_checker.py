"""The checker finds every bug that is planted in a history, and none in one without."""

from __future__ import annotations

import random
from pathlib import Path

import pytest

from tests.chaos.checker import check
from tests.chaos.circumstances import Circumstances
from tests.chaos.figures import measure, table
from tests.chaos.history import Event, Journal, Received, read, write
from tests.chaos.mutations import MUTATIONS, Mutation
from tests.chaos.simulation import Simulation
from tests.chaos.verdict import timeline

SEEDS = (1, 2, 3)


@pytest.fixture(scope="module")
def histories() -> dict[int, list[Event]]:
    """One without a bug for each seed."""
    return {seed: Simulation(seed).run() for seed in SEEDS}


@pytest.mark.parametrize("seed", SEEDS)
def test_nothing_is_found_where_nothing_is(histories: dict[int, list[Event]], seed: int) -> None:
    """And it has looked at something."""
    verdict = check(histories[seed])

    assert verdict.violations == []
    assert verdict.counts["deliveries"] > 3000
    assert verdict.counts["told of a gap"] > 1
    assert verdict.counts["subscriptions resumed"] > 1
    assert verdict.counts["revocations while the log was readable"] == 1
    assert verdict.counts["publications acknowledged"] > 1000


@pytest.mark.parametrize("mutation", MUTATIONS, ids=lambda mutation: mutation.__name__)
@pytest.mark.parametrize("seed", SEEDS)
def test_a_planted_bug_is_found(
    histories: dict[int, list[Event]], mutation: Mutation, seed: int
) -> None:
    """By a rule that is about it."""
    changed = mutation(histories[seed], random.Random(seed))  # noqa: S311 - to be repeatable

    verdict = check(changed)

    rules = {violation.rule for violation in verdict.violations}
    assert rules
    assert rules & MUTATIONS[mutation]


def test_a_counterexample_has_its_timeline(histories: dict[int, list[Event]]) -> None:
    """What the client saw before, and the fault that was there."""
    events = histories[1]
    at = next(
        place
        for place, event in enumerate(events)
        if isinstance(event, Received) and event.at > 40.5 and event.client == "client-1"
    )
    missing = events[at]
    verdict = check([*events[:at], *events[at + 1 :]])

    assert verdict.first is not None
    lines = timeline(events, verdict.first)

    assert any("redis restart, tail lost" in line for line in lines)
    assert any(repr(missing) in line for line in lines)
    assert len(lines) <= 41


def test_a_history_is_read_as_it_was_written(
    histories: dict[int, list[Event]], tmp_path: Path
) -> None:
    """In the order of the times, whichever file something is in; a half line is left out."""
    events = histories[1][:2000]
    write(tmp_path / "a.jsonl", events[::2])
    write(tmp_path / "b.jsonl", events[1::2])
    with (tmp_path / "b.jsonl").open("ab") as file:
        file.write(b'["received",1.0,"cl')

    found = read([tmp_path / "a.jsonl", tmp_path / "b.jsonl"])

    assert sorted(map(repr, found)) == sorted(map(repr, events))
    assert [event.at for event in found] == sorted(event.at for event in events)


def test_a_journal_appends(tmp_path: Path) -> None:
    """What was there stays."""
    for _ in range(2):
        journal = Journal(tmp_path / "a.jsonl")
        journal.note(Received(1, "a", "kept:0", 1, "p", 1))
        journal.flush()
        journal.close()

    assert len(read([tmp_path / "a.jsonl"])) == 2


def test_a_fault_has_its_figures(histories: dict[int, list[Event]]) -> None:
    """Noticed when sockets were cut, well when the last of them heard again; one meets another."""
    figures = measure(histories[1], Circumstances(histories[1]))
    killed = [figure for figure in figures if figure.kind == "gateway kill -9"]

    assert len(killed) == 5
    for figure in killed:
        assert figure.disturbed >= 2
        assert figure.detect == 0
        assert figure.recover is not None
        assert 0 <= figure.recover < 2
    assert "| gateway kill -9 | 5 | 6 | 0.00 s" in "\n".join(table(figures))
