"""What stops an order: one line for a person."""

from __future__ import annotations


class DeployError(Exception):
    """The cluster refused something, or a setting is wrong; the text is one line."""
