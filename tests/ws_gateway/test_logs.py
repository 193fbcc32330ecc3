"""What a log line looks like, and who is kept from writing URLs into it."""

from __future__ import annotations

import json
import logging
from collections.abc import Iterator
from datetime import datetime

import pytest

from ws_gateway import logs


@pytest.fixture(autouse=True)
def _restored() -> Iterator[None]:
    """Give the root logger back as it was."""
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    quiet = {name: logging.getLogger(name).level for name in logs._QUIET}
    yield
    root.handlers[:] = handlers
    root.setLevel(level)
    for name, before in quiet.items():
        logging.getLogger(name).setLevel(before)


def test_line_is_one_json_object(capsys: pytest.CaptureFixture[str]) -> None:
    """Time, level, logger and event, then the fields of the event."""
    logs.configure()
    logging.getLogger("ws_gateway.x").info("connection closed", extra={"code": 3001})

    output = capsys.readouterr()
    line = json.loads(output.err)
    assert output.out == ""
    assert datetime.fromisoformat(line.pop("time")).tzinfo is not None
    assert line == {
        "level": "INFO",
        "logger": "ws_gateway.x",
        "event": "connection closed",
        "code": 3001,
    }


def test_odd_text_stays_on_its_line(capsys: pytest.CaptureFixture[str]) -> None:
    """What a client says cannot begin a line of its own (CWE-117)."""
    logs.configure()
    logging.getLogger("x").warning("a", extra={"detail": 'b\n{"event": "forged"}\u2028'})

    lines = capsys.readouterr().err.splitlines()
    assert len(lines) == 1
    assert json.loads(lines[0])["event"] == "a"


def test_traceback_stays_on_its_line(capsys: pytest.CaptureFixture[str]) -> None:
    """Collectors read line by line."""
    logs.configure()
    try:
        int("word")
    except ValueError:
        logging.getLogger("x").exception("internal error")

    (line,) = capsys.readouterr().err.splitlines()
    assert "ValueError" in json.loads(line)["exc_info"]


def test_level_is_the_least_that_is_written(capsys: pytest.CaptureFixture[str]) -> None:
    """``GATEWAY_LOG_LEVEL``."""
    logs.configure("WARNING")
    logging.getLogger("x").info("no")
    logging.getLogger("x").warning("yes")

    (line,) = capsys.readouterr().err.splitlines()
    assert json.loads(line)["event"] == "yes"


@pytest.mark.parametrize("name", ["uvicorn.access", "httpx2", "httpcore2.connection"])
def test_loggers_that_write_urls_are_quiet(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    """A URL may hold a token, also at DEBUG."""
    logs.configure("DEBUG")
    logging.getLogger(name).info("GET /?access_token=secret")

    assert capsys.readouterr().err == ""
