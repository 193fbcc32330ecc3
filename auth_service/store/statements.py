"""How a single statement is run, which each kind of database has its own way of doing fast."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Protocol


class Statements(Protocol):
    """Runs single statements, each of which is a transaction of its own."""

    @property
    def idle(self) -> int:
        """How many connections it keeps out of the pool at the moment without using them."""

    async def run(self, text: str, values: Sequence[Any], *, writes: bool) -> Any | None:  # noqa: ANN401
        """Return the first row, as the driver gives it; what was written is committed by then.

        Args:
            text: SQL, as the driver wants it.
            values: In its order.
            writes: Whether it changes anything; else it finds a few rows by their keys.

        Raises:
            Exception: Whatever the driver or the pool says.
        """

    def make_room(self) -> None:
        """Lend the pool a connection, if it has none left for a transaction to come."""

    def renew(self) -> None:
        """Use no connection again that is open now."""

    async def close(self) -> None:
        """Let go of all connections; the next statement opens others."""
