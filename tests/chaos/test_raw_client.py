"""The client of the test's own keeps its place as an SDK does."""

from __future__ import annotations

from pathlib import Path

from tests.chaos.history import Journal
from tests.chaos.raw_client import RawClient


async def _token(_fresh: bool) -> str:
    return ""


def test_it_goes_on_behind_what_it_recovered(tmp_path: Path) -> None:
    """The reply to a resumed subscription tells the offset that was asked for, not the top."""
    journal = Journal(tmp_path / "one.jsonl")
    client = RawClient(
        name="one",
        url="ws://127.0.0.1:1",
        channel="kept:1",
        token=_token,
        journal=journal,
        bare=True,
    )
    data = {"id": "x", "sent": 1.0}
    publications = [{"offset": offset, "data": data} for offset in (39, 40)]

    client._take({"id": 1, "subscribe": {"epoch": "e", "offset": 7}})
    client._take(
        {
            "id": 2,
            "subscribe": {
                "epoch": "e",
                "offset": 38,
                "recovered": True,
                "publications": publications,
            },
        }
    )
    journal.close()

    assert client.position == ("e", 40)
