"""How the names of what belongs together are kept in one slot of a Redis Cluster."""

from __future__ import annotations

# What would end the braces at once: nothing would be in them, and the whole name would count.
_SPECIAL = ("}", "\x01")


def slot_tag(name: str) -> bytes:
    """Write a name as it stands in braces: Redis puts names with the same braces into one slot.

    Different names are written differently.
    """
    return (f"\x01{name}" if name.startswith(_SPECIAL) or not name else name).encode()
