"""What a log line looks like, and who is kept from writing URLs into it."""

from __future__ import annotations

import io
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


class Clock:
    """Moved by hand."""

    now = 0.0

    def __call__(self) -> float:
        """See time.monotonic."""
        return self.now


@pytest.fixture
def clock() -> Clock:
    """A clock that stands still."""
    return Clock()


@pytest.fixture
def written() -> io.StringIO:
    """What was logged."""
    return io.StringIO()


@pytest.fixture
def bounded(clock: Clock, written: io.StringIO) -> Iterator[logging.Logger]:
    """A logger that writes two lines of a kind in a minute."""
    handler = logs.BoundedHandler(2, clock, written)
    handler.setFormatter(logging.Formatter("%(message)s %(left_out)s", defaults={"left_out": ""}))
    logger = logging.getLogger("bounded")
    logger.setLevel(logging.INFO)
    logger.propagate = False
    logger.addHandler(handler)
    yield logger
    logger.removeHandler(handler)
    logger.propagate = True
    logger.setLevel(logging.NOTSET)
    handler.close()


def refuse(logger: logging.Logger, status: int, count: int) -> None:
    """Log so many refusals."""
    for _ in range(count):
        logger.info("refused", extra={"status": status})


def test_a_flood_of_one_kind_is_counted_and_hides_nothing_else(
    bounded: logging.Logger, clock: Clock, written: io.StringIO
) -> None:
    """After a minute the next line, whichever, is preceded by how many were left out."""
    refuse(bounded, 401, 1000)
    refuse(bounded, 403, 1)
    bounded.info("another")
    clock.now = 60.0
    refuse(bounded, 401, 3)

    assert [line.strip() for line in written.getvalue().splitlines()] == [
        *["refused"] * 3,
        "another",
        "lines left out 998",
        *["refused"] * 2,
    ]


def test_the_count_says_of_what_it_is(capsys: pytest.CaptureFixture[str]) -> None:
    """In the same fields; and the last one comes at the end at the latest."""
    logs.configure(lines_per_minute=1)
    refuse(logging.getLogger("x"), 401, 3)
    logging.getLogger().handlers[0].close()

    line = json.loads(capsys.readouterr().err.splitlines()[-1])
    wanted = ("event", "of", "status", "left_out", "level")
    assert [line[name] for name in wanted] == ["lines left out", "refused", 401, 2, "INFO"]


def test_tracebacks_are_bounded_alike(bounded: logging.Logger, written: io.StringIO) -> None:
    """They are the longest of all."""
    for number in range(5):
        try:
            int(f"word {number}")
        except ValueError:
            bounded.exception("failed")

    assert written.getvalue().count("Traceback") == 2


def test_kinds_are_bounded_too(bounded: logging.Logger, written: io.StringIO) -> None:
    """A library that writes numbers into its events has an unbounded number of them."""
    for number in range(1500):
        bounded.info(f"event {number}")

    assert len(written.getvalue().splitlines()) == 1002


def test_without_a_limit_all_is_written(capsys: pytest.CaptureFixture[str]) -> None:
    """``GATEWAY_LOG_LINES_PER_MINUTE=0``."""
    logs.configure(lines_per_minute=0)
    refuse(logging.getLogger("x"), 401, 700)

    assert len(capsys.readouterr().err.splitlines()) == 700
