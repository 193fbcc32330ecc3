"""A uvicorn server whose signals are ours."""

from __future__ import annotations

import asyncio
import os
import signal
import socket

from fastapi import FastAPI

from auth_service.serving import create_server, stop, stop_on_signals


def test_the_second_stop_hurries() -> None:
    """The first one lets requests end."""
    server = create_server(FastAPI())

    stop([server])
    assert (server.should_exit, server.force_exit) == (True, False)
    stop([server])
    assert (server.should_exit, server.force_exit) == (True, True)


async def test_a_signal_ends_the_servers_and_not_the_process() -> None:
    """Nothing is raised again afterwards."""
    servers = [create_server(FastAPI()) for _ in range(2)]
    stop_on_signals(servers)
    sockets = [socket.create_server(("127.0.0.1", 0)) for _ in servers]
    async with asyncio.timeout(10), asyncio.TaskGroup() as group:
        for server, listener in zip(servers, sockets, strict=True):
            group.create_task(server.serve([listener]))
        while not all(server.started for server in servers):  # noqa: ASYNC110
            await asyncio.sleep(0.01)
        os.kill(os.getpid(), signal.SIGTERM)

    loop = asyncio.get_running_loop()
    assert loop.remove_signal_handler(signal.SIGTERM)
    assert loop.remove_signal_handler(signal.SIGINT)
