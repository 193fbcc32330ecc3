"""Who is in a channel, and when a user was last here."""

from __future__ import annotations
