"""The connections of this process that ended last, for who asks why."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator

from msgspec import Struct

KEPT = 1000
"""How many; a storm leaves its last ones."""


class Close(Struct, frozen=True, gc=False):
    """One connection that ended.

    Attributes:
        at: Unix time in seconds.
        client: Its id.
        user: Whose it was; empty for a guest, and for who never said.
        address: The peer's.
        code: The close code; 1006 where the socket broke without one.
        reason: What the client was told; empty where it ended, or was cut.
        detail: What happened, for the operator only.
        lasted: How many seconds it was open.
        node: Where.
    """

    at: float
    client: str
    user: str
    address: str
    code: int
    reason: str
    detail: str
    lasted: float
    node: str = ""


class Closes:
    """The last ends, and no more of them than ``kept``.

    Args:
        kept: How many.
    """

    def __init__(self, kept: int = KEPT) -> None:
        # A tuple is made faster than a structure; a storm of reconnects makes thousands.
        self._closes: deque[tuple[float, str, str, str, int, str, str, float]] = deque(maxlen=kept)

    def __len__(self) -> int:
        """How many are known."""
        return len(self._closes)

    def note(
        self,
        *,
        at: float,
        client: str,
        user: str,
        address: str,
        code: int,
        reason: str,
        detail: str,
        lasted: float,
    ) -> None:
        """Note an end; see Close."""
        times = round(at, 3), round(lasted, 3)
        self._closes.append((times[0], client, user, address, code, reason, detail, times[1]))

    def find(self, *, user: str | None = None, code: int = 0) -> Iterator[Close]:
        """Go through the ends, the last first: of one user unless None, with one code unless 0."""
        for close in reversed(self._closes):
            if user in (None, close[2]) and code in (0, close[4]):
                yield Close(*close)
