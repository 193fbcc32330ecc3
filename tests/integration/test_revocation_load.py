"""Revocations while sockets receive: each is closed in time, and nobody else."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from tests.benchmarks.revocation_load import run
from tests.integration.two_gateways import World

pytestmark = pytest.mark.integration

SOCKETS = 100
REVOCATIONS = 20
#: What each way says to the socket: a new token helps, or it does not.
CODES = {
    "log out one": {3500},
    "/revoke": {3005},
    "log out everywhere": {3500},
    "disable user": {3500},
}


@pytest.mark.parametrize("outage_seconds", [0, 3], ids=["readable", "after an outage"])
def test_who_is_revoked_is_closed_within_a_second(tmp_path: Path, outage_seconds: float) -> None:
    """Two gateways with sockets that receive; also with a log that was away and came back empty."""
    world = World(tmp_path, f"sqlite+aiosqlite:///{tmp_path}/auth.db")
    with world.running():
        running = run(
            world,
            sockets=SOCKETS,
            publications_per_second=50,
            revocations=REVOCATIONS,
            revocations_per_second=20,
            outage_seconds=outage_seconds,
        )
        outcome = asyncio.run(running)

    assert outcome.codes == CODES
    # Half of the ways end both sockets of a user.
    assert len(outcome.waits) == REVOCATIONS * 3 // 2
    assert max(outcome.waits) < 1
    assert outcome.bystanders == 0
    assert bool(outcome.received) is not bool(outage_seconds)
