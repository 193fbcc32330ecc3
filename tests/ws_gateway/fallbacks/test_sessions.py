"""Whose sessions are whose."""

from __future__ import annotations

import pytest

from tests.ws_gateway.fallbacks.conftest import Line
from ws_gateway.fallbacks.sessions import EmulatedSessions

PAGE = "https://app.example.com"


@pytest.fixture
def sessions() -> EmulatedSessions:
    """None yet."""
    return EmulatedSessions()


async def test_a_session_is_found_from_its_own_origin_only(
    sessions: EmulatedSessions, line: Line
) -> None:
    """No origin is one as well."""
    pages = line.transport()
    programs = line.transport()
    of_page = sessions.add(pages, kind="sse", origin=PAGE)
    of_program = sessions.add(programs, kind="sse", origin=None)

    assert sessions.find(of_page, PAGE) is pages
    assert sessions.find(of_page, None) is None
    assert sessions.find(of_page, "https://other.example.com") is None
    assert sessions.find(of_program, None) is programs
    assert sessions.find(of_program, PAGE) is None


async def test_a_session_ends_with_its_connection(sessions: EmulatedSessions, line: Line) -> None:
    """Before the last of its response has left."""
    transport = line.transport()
    session = sessions.add(transport, kind="sse", origin=None)
    transport.close(3001, "shutdown")

    assert sessions.find(session, None) is None
    assert len(sessions) == 1
    sessions.remove(session)
    sessions.remove(session)
    assert len(sessions) == 0


async def test_they_are_counted_by_kind(sessions: EmulatedSessions, line: Line) -> None:
    """For metrics."""
    first = sessions.add(line.transport(), kind="sse", origin=None)
    sessions.add(line.transport(), kind="http_stream", origin=None)
    sessions.add(line.transport(), kind="http_stream", origin=None)
    sessions.remove(first)

    assert sessions.kinds == {"sse": 0, "http_stream": 2}


async def test_ids_are_128_random_bits(sessions: EmulatedSessions, line: Line) -> None:
    """And no two are the same."""
    ids = {sessions.add(line.transport(), kind="sse", origin=None) for _ in range(100)}

    assert {len(session) for session in ids} == {22}
    assert len(ids) == 100
