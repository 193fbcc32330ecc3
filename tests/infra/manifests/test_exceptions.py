"""The exception of the manifests."""

from __future__ import annotations

from infra.manifests.exceptions import ManifestError


def test_it_is_its_text() -> None:
    """One line for a person."""
    assert str(ManifestError("TAG: needed")) == "TAG: needed"
