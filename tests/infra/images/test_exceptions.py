"""The exception of the images."""

from __future__ import annotations

from infra.images.exceptions import ImageError


def test_it_is_its_text() -> None:
    """One line for a person."""
    assert str(ImageError("TAG: needed")) == "TAG: needed"
