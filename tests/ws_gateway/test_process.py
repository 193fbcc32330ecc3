"""One gateway in the test's own process."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import logging
import signal
from pathlib import Path

import httpx2
import pytest
import uvloop

from tests.redis_guard import GATEWAY, Guard, guarded
from tests.redis_server import RedisServer
from ws_gateway import process
from ws_gateway.listeners import bind
from ws_gateway.redis_endpoint import Endpoint
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


def test_a_tls_connection_that_is_given_up_is_no_failure(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """In whatever moment: a server of a cluster may leave while we are connecting to it."""
    guard = Guard(tmp_path)
    server = RedisServer(tmp_path, *guard.server_options, **guarded(guard)).start()
    endpoint = Endpoint(guard.url("", GATEWAY, f"127.0.0.1:{server.door}"))

    async def give_up() -> None:
        asyncio.get_running_loop().set_exception_handler(process.log_failure)
        for number in range(40):
            connection = endpoint.connection()
            attempt = asyncio.ensure_future(connection.connect())  # type: ignore[no-untyped-call]
            await asyncio.sleep(number / 4000)
            attempt.cancel()
            await asyncio.gather(attempt, return_exceptions=True)
            await connection.disconnect(nowait=True)

    try:
        uvloop.run(give_up())
    finally:
        server.kill()

    assert [record for record in caplog.records if record.levelno >= logging.WARNING] == []


@pytest.mark.parametrize(
    "failure", [RuntimeError("the handler is closed"), ValueError("ours"), None]
)
async def test_what_nobody_has_caught_is_logged(
    failure: Exception | None, caplog: pytest.LogCaptureFixture
) -> None:
    """As an error, with its traceback if it has one."""
    process.log_failure(
        asyncio.get_running_loop(), {"message": "a fault of ours", "exception": failure}
    )

    (record,) = caplog.records
    assert (record.levelno, record.message[:15]) == (logging.ERROR, "a fault of ours")
