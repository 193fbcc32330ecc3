"""An order and what came of it."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

PASSWORD = "correct horse battery staple"


@dataclass(frozen=True, slots=True)
class Ran:
    """What an order did.

    Args:
        status: The exit status.
        out: What it answered.
        err: What it said besides.
    """

    status: int
    out: str
    err: str

    @property
    def json(self) -> Any:  # noqa: ANN401 - whatever an order answers
        """The answer for programs."""
        return json.loads(self.out)


Run = Callable[..., Ran]
