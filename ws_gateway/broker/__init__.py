"""How publications travel between processes: one interface, interchangeable brokers."""

from __future__ import annotations
