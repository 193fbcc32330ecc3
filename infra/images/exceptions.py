"""What stops an order: one line for a person."""

from __future__ import annotations


class ImageError(Exception):
    """An image cannot be made, or a setting is wrong; the text is one line."""
