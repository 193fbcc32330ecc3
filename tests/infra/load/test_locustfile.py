"""What the users of each scenario do, against a real front."""

from __future__ import annotations

import dataclasses
import os
import re
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple, Protocol

import pytest

from infra.load import __main__ as entry, settings
from infra.load.result import Result

pytestmark = pytest.mark.integration


class Load(Protocol):
    """Runs a load test with what is chosen."""

    def __call__(self, **chosen: str) -> Ended:
        """Run it to its end."""


class Ended(NamedTuple):
    """What ``make load`` came to."""

    status: int
    said: str
    result: Result


@pytest.fixture
def load(
    stack_of_front: dict[str, str],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
) -> Load:
    """Run a small test to its end."""
    monkeypatch.setattr(entry, "REPORTS", tmp_path / "load")
    read = settings.read

    def hurried(environment: Mapping[str, str], *, host: str) -> settings.Plan:
        return dataclasses.replace(read(environment, host=host), settle=2, report=4)

    monkeypatch.setattr(settings, "read", hurried)

    def run(**chosen: str) -> Ended:
        small = {"USERS": "10", "WORKERS": "1", "RATE": "10", "EVERY": "1"} | chosen
        status = entry.run({"PATH": os.environ["PATH"]} | stack_of_front | small)
        result = Result.load((tmp_path / "load/result-0.json").read_text("utf-8"))
        return Ended(status, capfd.readouterr().out, result)

    return run


def test_of_a_big_room_a_few_speak_and_all_hear(load: Load) -> None:
    """All are in one room."""
    status, said, result = load(SCENARIO="room", TIME="5s")

    assert status == 0, said
    assert result.delivered == 10 * result.published
    assert result.settled == 10


def test_everybody_comes_back_from_a_storm_and_has_missed_nothing(load: Load) -> None:
    """All are cut off in one moment; what was said meanwhile is made up for, in order."""
    status, said, result = load(SCENARIO="storm", TIME="14s")

    assert status == 0, said
    assert result.histograms["return"].count == result.settled == 10
    assert sum(result.nodes.values()) == 20
    assert result.owed > 0


def test_who_does_not_read_is_counted_apart(load: Load) -> None:
    """The others lose nothing by it."""
    status, said, result = load(SCENARIO="slow", TIME="5s")

    assert status == 0, said
    assert (result.slow, result.settled) == (1, 10)
    assert re.search(r"not reading +1, [01] of them ended by the server", said)


def test_a_stream_comes_part_by_part(load: Load) -> None:
    """The gaps between its parts are what a reader notices."""
    status, said, result = load(SCENARIO="stream", USERS="2", TIME="5s")

    assert status == 0, said
    streams, rest = divmod(result.published, settings.PARTS)
    assert streams
    assert not rest
    assert result.delivered == 2 * result.published
    assert result.histograms["gap"].count == 2 * streams * (settings.PARTS - 1)
