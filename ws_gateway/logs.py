"""How the gateway logs: one JSON object per line, on standard error, and not without end."""

from __future__ import annotations

import logging.config
import time
from collections import Counter
from collections.abc import Callable
from typing import NamedTuple, TextIO

from typing_extensions import override

_QUIET = ("uvicorn.access", "httpx2", "httpcore2", "asyncio")
_MINUTE = 60.0
# Of kinds of lines; a library may write names or numbers into its events.
_MAX_KINDS = 1000
_MAX_EVENT_CHARACTERS = 100
_FIELDS = ("status", "code", "reason")
LINES_PER_MINUTE = 600
"""Of one kind, unless the settings say otherwise."""


class _Kind(NamedTuple):
    """What lines have in common that one cause makes many of."""

    logger: str
    level: int
    event: str
    values: tuple[str | int | None, ...] = ()

    @property
    def fields(self) -> dict[str, str | int]:
        """What the lines say besides."""
        pairs = zip(_FIELDS, self.values, strict=False)
        return {name: value for name, value in pairs if value is not None}


_OTHERS = _Kind(__name__, logging.WARNING, "others")


class BoundedHandler(logging.StreamHandler[TextIO]):
    """Writes so many lines of each kind in a minute, then counts, and says how many it left out.

    Otherwise whoever can cause a line could fill a disk, and hide what he does in between.

    Args:
        lines: Of one kind in a minute; 0 for any number.
        clock: Seconds that never go back.
        stream: Where to; standard error if None.
    """

    def __init__(
        self,
        lines: int,
        clock: Callable[[], float] = time.monotonic,
        stream: TextIO | None = None,
    ) -> None:
        super().__init__(stream)
        self._lines = lines
        self._clock = clock
        self._ends = clock() + _MINUTE
        self._counts: Counter[_Kind] = Counter()

    @override
    def emit(self, record: logging.LogRecord) -> None:
        if not self._lines:
            super().emit(record)
            return
        now = self._clock()
        if now >= self._ends:
            self._ends = now + _MINUTE
            self._report()
        kind = _kind(record)
        if kind not in self._counts and len(self._counts) >= _MAX_KINDS:
            kind = _OTHERS
        self._counts[kind] += 1
        if self._counts[kind] <= self._lines:
            super().emit(record)

    @override
    def close(self) -> None:
        with self.lock:  # type: ignore[union-attr]  # there is one, unless somebody took it away
            self._report()
        super().close()

    def _report(self) -> None:
        counts, self._counts = self._counts, Counter()
        for kind, count in counts.items():
            if count > self._lines:
                record = logging.LogRecord(
                    __name__, kind.level, "", 0, "lines left out", None, None
                )
                record.__dict__ |= {"of": kind.event, "left_out": count - self._lines}
                record.__dict__ |= kind.fields
                super().emit(record)


def _kind(record: logging.LogRecord) -> _Kind:
    event = str(record.msg)[:_MAX_EVENT_CHARACTERS]
    said = (record.__dict__.get(name) for name in _FIELDS)
    values = tuple(value if isinstance(value, str | int) else None for value in said)
    return _Kind(record.name, record.levelno, event, values)


def configure(level: str = "INFO", *, lines_per_minute: int = LINES_PER_MINUTE) -> None:
    """Send every log record to standard error as a line of JSON.

    Loggers that would write down URLs, and with them whatever a client put there, only warn.

    Args:
        level: The least severe level that is written.
        lines_per_minute: How many of one kind; 0 for any number.
    """
    logging.config.dictConfig(
        {
            "version": 1,
            "disable_existing_loggers": False,
            "formatters": {
                "json": {
                    "()": "pythonjsonlogger.json.JsonFormatter",
                    "fmt": "%(levelname)s %(name)s %(message)s",
                    "rename_fields": {"levelname": "level", "name": "logger", "message": "event"},
                    "timestamp": "time",
                }
            },
            "handlers": {
                "stderr": {"()": BoundedHandler, "lines": lines_per_minute, "formatter": "json"}
            },
            "root": {"level": level, "handlers": ["stderr"]},
            "loggers": {name: {"level": "WARNING"} for name in _QUIET},
        }
    )
