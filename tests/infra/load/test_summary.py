"""The table, and the verdict."""

from __future__ import annotations

import dataclasses

from infra.load.result import Result, Sample
from infra.load.settings import Plan
from infra.load.summary import Summary

PLAN = Plan(users=4, rate=4, seconds=10, every=1, workers=2, host="wss://localhost:8443")


def result(*, lost: int = 0, settled: int = 2, owed: int = 50) -> Result:
    """A process with two users."""
    one = Result(started=2, settled=settled, published=10, delivered=50, owed=owed)
    one.nodes["first"] += 1
    one.nodes["second"] += 1
    one.samples = [
        Sample(at=1.0, published=90, delivered=90, cpu=0.99),
        Sample(at=5.0, published=4, delivered=20, cpu=0.25),
        Sample(at=6.0, published=6, delivered=30, cpu=0.35),
        Sample(at=12.0, published=0, delivered=0, cpu=0.01),
    ]
    for _ in range(50):
        one.measure("delivery", 10)
    if lost:
        one.lost["room:a"] += lost
        one.failures["lost: in room:a"] += lost
    return one


def line(summary: Summary, start: str) -> str:
    """Find a line of the text, blanks drawn together."""
    (found,) = [text for text in summary.text().splitlines() if text.startswith(start)]
    return " ".join(found.split())


def test_processes_are_added_up() -> None:
    """Rates and the generator's share count the seconds in which all users were there."""
    summary = Summary(PLAN, [result(), result()], machine=0.5)

    assert summary.problems() == []
    assert line(summary, "delivery") == "delivery 100 10.0 10.0 10.0 10.0"
    assert line(summary, "connections") == "connections 4, by gateway: 2 + 2"
    assert line(summary, "published") == "published 20, 10 a second"
    assert line(summary, "delivered") == "delivered 100, 50 a second"
    assert line(summary, "lost") == "lost 0 of 100 that were owed"
    assert line(summary, "machine").startswith("machine 50%")
    assert "30% (highest second 35%), 30% (highest second 35%)" in line(summary, "generator")
    assert "busy" not in summary.text()


def test_a_lost_message_fails_the_test() -> None:
    """By room, and as the verdict."""
    summary = Summary(PLAN, [result(lost=3), result()], machine=0.5)

    assert line(summary, "lost") == "lost 3 of 100 that were owed"
    assert "room:a: 3\n" in summary.text()
    assert summary.problems() == ["3 times lost: in room:a"]
    assert summary.text().endswith("FAILED: 3 times lost: in room:a\n")


def test_a_process_without_a_result_fails_the_test() -> None:
    """Its users' losses would be unknown."""
    assert Summary(PLAN, [result()], machine=0).problems() == [
        "1 processes left no result",
        "2 users did not start",
    ]


def test_users_who_went_early_fail_the_test() -> None:
    """Nothing is owed to those who are gone."""
    summary = Summary(PLAN, [result(settled=1), result()], machine=0)

    assert summary.problems() == ["1 users were not there at the end"]


def test_a_test_in_which_nothing_could_be_lost_fails() -> None:
    """Zero of zero is no success."""
    summary = Summary(PLAN, [result(owed=0), result(owed=0)], machine=0)

    assert summary.problems() == ["no message was owed to anybody, so none could be lost"]


def test_the_limits_of_the_front_are_named() -> None:
    """The most likely mistake has its remedy beside it."""
    one = result()
    one.failures["connect: 429"] += 5

    assert Summary(PLAN, [one, result()], machine=0).problems()[-1].endswith("make up LIMITS=load")


def test_many_kinds_of_failure_are_not_all_listed() -> None:
    """The CSV has them."""
    one = result()
    one.failures.update({f"kind {number}": 1 for number in range(10)})

    assert Summary(PLAN, [one, result()], machine=0).problems()[-1] == (
        "and 2 other kinds of failure"
    )


def test_a_busy_generator_is_said() -> None:
    """Then the times are its own, too."""
    one = result()
    one.samples.append(Sample(at=7.0, published=0, delivered=0, cpu=0.95))

    assert "the generator was busy" in Summary(PLAN, [one, result()], machine=1).text()


def test_a_scenario_has_its_own_lines() -> None:
    """And the others have not."""
    one = result()
    one.measure("return", 100)
    one.recovered, one.slow, one.ended = 7, 3, 2
    storm, slow = (dataclasses.replace(PLAN, scenario=name) for name in ("storm", "slow"))

    assert line(Summary(storm, [one, result()], 0), "return").startswith("return 1 100.")
    assert line(Summary(storm, [one, result()], 0), "recovered").startswith("recovered 7 messages")
    assert line(Summary(slow, [one, one], 0), "not reading") == (
        "not reading 6, 4 of them ended by the server"
    )
    plain = Summary(PLAN, [result(), result()], 0).text()
    assert not [word for word in ("return", "gap", "recovered", "not reading") if word in plain]
