"""What stops an order: one line for a person."""

from __future__ import annotations


class ManifestError(Exception):
    """The manifests cannot be built, or are wrong; the text says where."""
