"""One gateway in the test's own process."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import signal

import httpx2

from ws_gateway import process
from ws_gateway.listeners import bind
from ws_gateway.settings import Settings


async def test_serves_until_a_signal() -> None:
    """Probes on one listener, clients on the other; SIGTERM ends both.

    Meanwhile a full collection does not look at what was made before the first client came.
    """
    public, internal = (bind([("127.0.0.1", 0)], variable="X") for _ in range(2))
    urls = [f"http://127.0.0.1:{sockets[0].getsockname()[1]}" for sockets in (public, internal)]
    running = asyncio.create_task(process.run(Settings(), public=public, internal=internal))

    # The kernel takes connections already: the answers come when the servers are there.
    async with httpx2.AsyncClient(trust_env=False, timeout=30) as client:
        statuses = [(await client.get(f"{url}/health/live")).status_code for url in urls]
    frozen = gc.get_freeze_count()
    signal.raise_signal(signal.SIGTERM)
    await running

    assert statuses == [404, 200]
    assert frozen > 0
    assert gc.get_freeze_count() == 0
    for sockets in (public, internal):
        with contextlib.closing(sockets[0]):
            assert sockets[0].fileno() == -1
