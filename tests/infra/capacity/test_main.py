"""``python -m infra.capacity``."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml

from infra.capacity import __main__ as program
from infra.capacity.model import Limits
from infra.manifests.front import PLACE


def test_the_table_of_the_page_is_what_it_prints(capsys: pytest.CaptureFixture[str]) -> None:
    """Whoever changes a figure changes the page."""
    assert program.main([]) == 0

    assert capsys.readouterr().out in Path("docs/operations.md").read_text("utf-8")


def test_other_loads_can_be_asked_for(capsys: pytest.CaptureFixture[str]) -> None:
    """A row for each number of connections."""
    arguments = ["12000", "6000", "--publications", "0", "--per-gateway", "3000", "--balanced"]

    assert program.main(arguments) == 0

    rows = capsys.readouterr().out.splitlines()[2:]
    assert [row.split(" | ")[:2] for row in rows] == [["| 12,000", "5"], ["| 6,000", "3"]]


def test_one_redis_that_is_not_enough_stands_out(capsys: pytest.CaptureFixture[str]) -> None:
    """Nothing in the manifests makes two of them one."""
    program.main(["1000000", "--publications", "1"])

    assert "| **1580%** |" in capsys.readouterr().out


@pytest.mark.parametrize(
    "arguments", [["0"], ["10", "--room", "0"], ["10", "--publications", "-1"]]
)
def test_nonsense_is_one_line(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    """And no table."""
    assert program.main(arguments) == 2
    captured = capsys.readouterr()
    assert (captured.out, captured.err) == ("", "numbers are positive\n")


def test_its_limits_are_those_of_the_manifests() -> None:
    """The autoscaler's target, and what the pods of nginx may hold and have memory for."""
    scaler = yaml.safe_load(Path("k8s/components/autoscaling/ws-gateway.yaml").read_text("utf-8"))
    (pods,) = (item["pods"] for item in scaler["spec"]["metrics"] if item["type"] == "Pods")

    assert Limits().per_gateway == int(pods["target"]["averageValue"])
    # A socket has two sides.
    assert Limits().front_connections == PLACE.workers * PLACE.open_files // 2 // 2
