"""What servers hold, and whether it is gone again."""

from __future__ import annotations

from dataclasses import replace

from tests.benchmarks import census
from tests.benchmarks.census import MIB, Census

EMPTY = Census(
    at=0.0,
    memory={"gateway": 50 * MIB},
    files={"gateway": 20},
    cpu={"gateway": 1.0},
    gauges={"gateway": {"connections": 0.0, "tokens": 0.0}},
    keys={"presence:nodes": 1},
)


def test_keys_are_counted_by_what_they_are_for() -> None:
    """Not by whose they are, which may be in braces."""
    keys = ["drawbridge:1:ch:s:{room:a}", "drawbridge:1:ch:s:{room:b:{c}", "drawbridge:1:seen"]

    assert census.kinds(keys) == {"ch:s": 2, "seen": 1}


def test_nothing_remains_of_nothing() -> None:
    """And a few descriptors and entries may."""
    after = replace(
        EMPTY, files={"gateway": 22}, gauges={"gateway": {"connections": 0.0, "tokens": 5.0}}
    )

    assert census.remaining(EMPTY, EMPTY, files=0, entries={}) == []
    assert census.remaining(EMPTY, after, files=2, entries={"tokens": 5}) == []


def test_each_kind_of_leak_is_named() -> None:
    """Descriptors, entries and keys, also of a kind that was not there before."""
    after = replace(
        EMPTY,
        files={"gateway": 23},
        gauges={"gateway": {"connections": 1.0, "tokens": 0.0, "new": 2.0}},
        keys={"presence:nodes": 1, "ch:s": 4},
    )

    assert census.remaining(EMPTY, after, files=2, entries={}) == [
        "gateway: 3 more descriptors",
        "gateway: connections 1",
        "gateway: new 2",
        "Redis: 4 more keys ch:s",
    ]


def test_memory_is_judged_from_when_all_was_used_once() -> None:
    """The first clients cost what stays; those after them may not."""
    looks = [
        replace(EMPTY, memory={"gateway": size * MIB}, keys={"ch:s": keys})
        for size, keys in ((50, 0), (60, 5), (61, 9), (62, 0))
    ]
    rows = {row.what: row for row in census.rows(looks, settled=1, most_growth=2 * MIB)}
    grown = census.rows(looks, settled=0, most_growth=2 * MIB)

    memory = rows["gateway: memory before; with all; after"]
    assert (memory.figure, memory.good) == ("50.0; 60.0 to 61.0; 62.0 MiB", True)
    assert not grown[0].good
    assert rows["keys ch:s in Redis: before; at most; after"].figure == "0; 9; 0"
