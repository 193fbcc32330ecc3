"""Drawbridge's WebSocket gateway: a bearer at the door, publications to everyone inside."""

from __future__ import annotations

__version__ = "0.1.0"
