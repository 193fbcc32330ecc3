"""How the gateway logs: one JSON object per line, on standard error."""

from __future__ import annotations

import logging.config

_QUIET = ("uvicorn.access", "httpx2", "httpcore2", "asyncio")


def configure(level: str = "INFO") -> None:
    """Send every log record to standard error as a line of JSON.

    Loggers that would write down URLs, and with them whatever a client put there, only warn.

    Args:
        level: The least severe level that is written.
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
            "handlers": {"stderr": {"class": "logging.StreamHandler", "formatter": "json"}},
            "root": {"level": level, "handlers": ["stderr"]},
            "loggers": {name: {"level": "WARNING"} for name in _QUIET},
        }
    )
