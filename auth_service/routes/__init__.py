"""The HTTP edge: parse, call, answer."""

from __future__ import annotations
