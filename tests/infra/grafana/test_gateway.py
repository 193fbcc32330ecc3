"""What whoever looks at the gateways finds on their board."""

from __future__ import annotations

from infra.grafana.gateway import GATEWAY
from tests.infra.grafana.exported import unseen


def test_everything_a_gateway_counts_is_on_its_board() -> None:
    """Nobody looks for the rest of it on another."""
    assert not unseen("gateway_", GATEWAY)
