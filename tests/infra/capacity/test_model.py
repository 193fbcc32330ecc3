"""The model, against sums that can be done by hand."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path

import pytest
import yaml

from infra.capacity.model import MIB, Costs, Limits, Load, need

QUIET = Load(
    connections=1, publications=0, life_seconds=1e12, ping_seconds=1e12, token_seconds=1e12
)


@pytest.mark.parametrize(
    ("connections", "gateways"), [(1, 2), (6000, 2), (6001, 3), (60_000, 11), (6_000_000, 1001)]
)
def test_silent_connections_are_counted(connections: int, gateways: int) -> None:
    """6,000 a pod, and one pod may be away."""
    assert need(replace(QUIET, connections=connections)).gateways == gateways


def test_a_busy_core_counts_before_its_connections() -> None:
    """100,000 deliveries a second of 6.5 us are 0.65 of a core, so more than one at 60 %."""
    costs = replace(Costs(), command=0, received=0)
    load = replace(QUIET, connections=1000, publications=1, room=100)

    found = need(load, costs=costs)

    assert found.gateways == 2 + 1
    assert found.gateway_busy == pytest.approx(0.65 / 3, rel=1e-6)


@pytest.mark.parametrize(
    ("changed", "cost"),
    [
        ({"ping_seconds": 1.0}, 15.4e-6),
        ({"life_seconds": 1.0}, 710e-6),
        # A command in, a frame out to each of ten, and once from Redis for each of them.
        ({"publications": 1.0, "room": 10}, (8.9 + 10 * 6.5 + 10 * 1.1) * 1e-6),
    ],
)
def test_each_habit_costs_what_was_measured(changed: dict[str, float], cost: float) -> None:
    """Alone, of one connection, on two pods."""
    found = need(replace(QUIET, **changed))  # type: ignore[arg-type]

    assert found.gateway_busy == pytest.approx(cost / 2, rel=1e-6)


def test_redis_tells_those_gateways_that_have_a_listener() -> None:
    """As many as there are, or as many as the room has members."""
    load = replace(QUIET, publications=1)
    small = need(replace(load, connections=1000, room=2), Limits(per_gateway=100))
    few = need(replace(load, connections=100, room=50), Limits(per_gateway=100))

    assert small.redis_busy == pytest.approx(1000 * (8.3 + 2 * 0.75) * 1e-6)
    assert few.redis_busy == pytest.approx(100 * (8.3 + 0.75) * 1e-6)


def test_nginx_has_ports_to_one_address_or_to_each() -> None:
    """28,232 to the Service's, 32,768 sockets altogether; 70 % of that."""
    load = replace(QUIET, connections=21_000)

    assert need(load).fronts == 2 + 1
    assert need(load, Limits(balanced=True)).fronts == 1 + 1


def test_memory_is_that_of_the_pods_that_are_left() -> None:
    """Where one is away the others hold its share."""
    found = need(replace(QUIET, connections=12_000))

    assert found.gateways == 3
    assert found.gateway_bytes == pytest.approx(100 * MIB + 6000 * 10.2 * 1024)
    assert found.front_bytes == pytest.approx(12_000 * 44 * 1024)


def test_tokens_that_end_have_to_be_fetched() -> None:
    """600,000 each ten minutes: a thousand a second, 2.8 cores, at 60 % five workers."""
    found = need(replace(QUIET, connections=600_000, token_seconds=600))

    assert found.auths == 3 + 1


def test_all_may_come_back_at_once() -> None:
    """6,000 of 0.71 ms on two cores of which 60 % are theirs."""
    found = need(replace(QUIET, connections=6000))

    assert found.return_seconds == pytest.approx(6000 * 0.00071 / 2 / 0.6)


def test_the_autoscaler_and_the_model_mean_one_number() -> None:
    """And a pod has room beyond it, for those who come while another one starts."""
    scaler = yaml.safe_load(Path("k8s/components/autoscaling/ws-gateway.yaml").read_text("utf-8"))
    (wanted,) = (
        metric["pods"]["target"]["averageValue"]
        for metric in scaler["spec"]["metrics"]
        if metric["type"] == "Pods"
    )
    production = Path("k8s/overlays/production/ws-gateway.env").read_text("utf-8")
    (most,) = re.findall(r"^GATEWAY_MAX_CONNECTIONS=(\d+)$", production, re.MULTILINE)

    assert int(wanted) == Limits().per_gateway < int(most)
    assert f"adds gateways at {int(wanted):,} connections" in Path("docs/operations.md").read_text()
