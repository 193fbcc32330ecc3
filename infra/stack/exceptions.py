"""What stops ``make up``, as one line for whoever typed it."""

from __future__ import annotations


class StackError(Exception):
    """Something is missing or does not start; the text is the line to show."""
