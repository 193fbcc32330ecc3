"""What whoever looks at the token service finds on its board."""

from __future__ import annotations

from infra.grafana.auth import AUTH
from tests.infra.grafana.exported import unseen


def test_everything_the_token_service_counts_is_on_its_board() -> None:
    """But its version, which the overview has beside the gateways'."""
    assert unseen("auth_", AUTH) == {"auth_build_info"}
