"""The exception of the deployment."""

from __future__ import annotations

from infra.deploy.exceptions import DeployError


def test_it_is_its_text() -> None:
    """One line for a person."""
    assert str(DeployError("TAG: needed")) == "TAG: needed"
