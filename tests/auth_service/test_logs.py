"""The log's form."""

from __future__ import annotations

import io
import json
import logging
from collections.abc import Iterator

import pytest

from auth_service import logs


@pytest.fixture(autouse=True)
def _logging() -> Iterator[None]:
    """Logging as it was, afterwards: another test's process may be this one."""
    root = logging.getLogger()
    handlers, level = list(root.handlers), root.level
    yield
    root.handlers[:] = handlers
    root.setLevel(level)
    logging.getLogger("uvicorn.access").disabled = False


@pytest.fixture
def stream() -> io.StringIO:
    """Where the log goes during one test."""
    written = io.StringIO()
    logs.configure(written)
    return written


def test_a_record_is_one_json_line(stream: io.StringIO) -> None:
    """An event name, then fields; what a client sent cannot begin a line of its own."""
    logging.getLogger("x").warning("refused", extra={"address": 'a\n{"event":"forged"}\u2028b'})

    (line,) = stream.getvalue().splitlines()
    record = json.loads(line)
    assert record["event"] == "refused"
    assert record["level"] == "WARNING"
    assert record["logger"] == "x"
    assert record["address"] == 'a\n{"event":"forged"}\u2028b'
    assert "request_id" not in record


def test_the_request_id_is_on_every_line_of_its_request(stream: io.StringIO) -> None:
    """So that one request can be followed."""
    token = logs.REQUEST_ID.set("abc")
    logging.getLogger("x").warning("refused")
    logs.REQUEST_ID.reset(token)

    assert json.loads(stream.getvalue())["request_id"] == "abc"


def test_the_servers_access_log_is_off(stream: io.StringIO) -> None:
    """Its lines hold query strings."""
    logging.getLogger("uvicorn.access").info("GET /?token=secret")

    assert stream.getvalue() == ""


@pytest.mark.parametrize("name", ["aiosqlite", "sqlalchemy.engine.Engine", "passlib.registry"])
def test_libraries_do_not_log_what_is_stored(name: str) -> None:
    """At DEBUG they write the parameters of every statement: password hashes among them."""
    stream = io.StringIO()
    logs.configure(stream, level=logging.DEBUG)
    logging.getLogger(name).debug("INSERT INTO users … $argon2id$…")
    logging.getLogger(name).info("INSERT INTO users … $argon2id$…")

    assert stream.getvalue() == ""
