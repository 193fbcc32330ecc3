"""The client of the test's own keeps its place as an SDK does."""

from __future__ import annotations

import asyncio
import contextlib
from pathlib import Path

from websockets.asyncio.server import ServerConnection, serve

from tests.chaos.history import Closed, Journal, read
from tests.chaos.raw_client import RawClient


async def _token(_fresh: bool) -> str:
    return "head.eyJqdGkiOiJ4In0.signature"


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


async def test_leaving_while_it_subscribes_is_no_close_of_the_server(tmp_path: Path) -> None:
    """The library closes with 1011 then, and hears the echo."""
    asked = asyncio.Event()

    async def listen(peer: ServerConnection) -> None:
        async for _ in peer:
            asked.set()

    journal = Journal(tmp_path / "one.jsonl")
    async with serve(listen, "127.0.0.1", 0) as server:
        (socket,) = server.sockets
        client = RawClient(
            name="one",
            url=f"ws://127.0.0.1:{socket.getsockname()[1]}",
            channel="kept:1",
            token=_token,
            journal=journal,
            bare=True,
        )
        run = asyncio.create_task(client.run())
        await asked.wait()
        run.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await run
    journal.close()

    events = read([tmp_path / "one.jsonl"])
    assert events
    assert not [event for event in events if isinstance(event, Closed)]
