"""The log: one JSON object per line on standard error.

An event name, then fields. JSON's escapes keep whatever a client sent on one line; tokens and
passwords are never given to the logger at all.
"""

from __future__ import annotations

import logging
import sys
from contextvars import ContextVar
from typing import TextIO

from pythonjsonlogger.core import RESERVED_ATTRS
from pythonjsonlogger.json import JsonFormatter
from typing_extensions import override

#: The id of the request being answered; empty outside of one.
REQUEST_ID: ContextVar[str] = ContextVar("request_id", default="")


class _RequestIdFilter(logging.Filter):
    """Adds the request's id to every record made while it is answered."""

    @override
    def filter(self, record: logging.LogRecord) -> bool:
        request_id = REQUEST_ID.get()
        if request_id:
            record.request_id = request_id
        return True


def quieten() -> None:
    """Keep libraries from logging the parameters of statements: password hashes are among them."""
    for name in ("aiosqlite", "sqlalchemy", "passlib"):
        logging.getLogger(name).setLevel(logging.WARNING)


def configure(stream: TextIO | None = None, *, level: int = logging.INFO) -> None:
    """Send all log records of the process to ``stream`` (standard error) as JSON lines.

    Handlers that were set before are replaced, so that a second call changes the stream only.

    Args:
        stream: Where to write.
        level: The lowest level that is written.
    """
    handler = logging.StreamHandler(stream or sys.stderr)
    handler.addFilter(_RequestIdFilter())
    handler.setFormatter(
        JsonFormatter(
            ["asctime", "levelname", "name", "message"],
            rename_fields={
                "asctime": "time",
                "levelname": "level",
                "name": "logger",
                "message": "event",
            },
            # uvicorn's copy of the message with terminal colours.
            reserved_attrs=[*RESERVED_ATTRS, "color_message"],
            datefmt="%Y-%m-%dT%H:%M:%S%z",
        )
    )
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(level)
    quieten()
    # Its lines carry the full query string, where a careless client may have put a token.
    logging.getLogger("uvicorn.access").disabled = True
