"""kill -9 in the middle of a refresh or an exchange: nothing is lost, nothing is there twice."""

from __future__ import annotations

import asyncio
import json
import os
import sys
from collections.abc import Mapping
from pathlib import Path

import pytest

from tests.databases import BOTH_DATABASES

pytestmark = [pytest.mark.integration, BOTH_DATABASES]
RUNS = 50
EXCHANGES = 20
POINTS = ("before-consume", "after-consume", "before-commit", "after-commit")


@pytest.fixture
def environment(tmp_path: Path, database_url: str) -> Mapping[str, str]:
    """The service's settings; its tables are there."""
    return os.environ | {
        "AUTH_DATABASE_URL": database_url,
        "AUTH_KEYS_DIR": f"{tmp_path}/keys",
        "AUTH_DEFAULT_CLIENT": "chat",
        "AUTH_REFRESH_GRACE_SECONDS": "60",
        "AUTH_HASH_THREADS": "1",
    }


async def kill(
    environment: Mapping[str, str], what: str, point: str, runs: int
) -> dict[str, object]:
    """Kill as many processes; returns what is left."""
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "tests.integration.kill_points", what, point, str(runs)),
        env=environment,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    said, complaints = await process.communicate()
    assert process.returncode == 0, complaints.decode()
    found = json.loads(said)
    assert isinstance(found, dict)
    return found


@pytest.mark.parametrize("what", ["refresh", "refresh-at-once"])
@pytest.mark.parametrize("point", POINTS)
async def test_a_killed_refresh_is_whole_or_has_not_been(
    environment: Mapping[str, str], point: str, what: str
) -> None:
    """The client that got no answer comes again with the old token, and goes on with the new one.

    Each session is then in its third generation: the refresh that was killed counted once, either
    then or when it was repeated.
    """
    assert await kill(environment, what, point, RUNS) == {
        "killed": RUNS,
        "lost": 0,
        "sessions": RUNS,
        "generations": [3],
        "ended": 0,
        "revoked": 0,
    }


@pytest.mark.parametrize("point", ["before-consume", "before-commit", "after-commit"])
async def test_a_killed_refresh_of_one_statement_is_whole_or_has_not_been(
    environment: Mapping[str, str], point: str
) -> None:
    """The usual refresh, without a scope: the statement is its own transaction."""
    assert await kill(environment, "refresh-at-once", point, RUNS) == {
        "killed": RUNS,
        "lost": 0,
        "sessions": RUNS,
        "generations": [3],
        "ended": 0,
        "revoked": 0,
    }


@pytest.mark.parametrize("point", POINTS[:3])
async def test_a_code_whose_exchange_was_killed_is_still_good(
    environment: Mapping[str, str], point: str
) -> None:
    """Before the commit nothing has happened: the client comes again and gets its one session."""
    assert await kill(environment, "exchange", point, EXCHANGES) == {
        "killed": EXCHANGES,
        "lost": 0,
        "sessions": EXCHANGES,
        "generations": [1],
        "ended": 0,
        "revoked": 0,
    }


async def test_a_code_whose_exchange_was_committed_is_spent(
    environment: Mapping[str, str],
) -> None:
    """Its session, which nobody has a token of, ends when the client comes again."""
    assert await kill(environment, "exchange", POINTS[3], EXCHANGES) == {
        "killed": EXCHANGES,
        "lost": EXCHANGES,
        "sessions": EXCHANGES,
        "generations": [1],
        "ended": EXCHANGES,
        "revoked": EXCHANGES,
    }
