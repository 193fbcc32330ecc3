"""Runs the gateway on uvicorn's own protocol classes, as any ASGI server would.

python -m tests.benchmarks.gateway.plain_asgi
"""

from __future__ import annotations

import asyncio

import uvicorn
import uvloop

from ws_gateway import logs
from ws_gateway.app import create_app, create_internal_app, open_gateway
from ws_gateway.settings import Settings

BACKLOG = 2048


async def serve(settings: Settings) -> None:
    """Serve until it is killed."""
    async with open_gateway(settings) as gateway, asyncio.TaskGroup() as group:
        for app, ((host, port),) in (
            (create_app(gateway), settings.bind),
            (create_internal_app(gateway), settings.internal_bind),
        ):
            configuration = uvicorn.Config(
                app,
                host=host,
                port=port,
                lifespan="off",
                log_config=None,
                access_log=False,
                backlog=BACKLOG,
            )
            group.create_task(uvicorn.Server(configuration).serve())


if __name__ == "__main__":
    given = Settings.from_environment()
    logs.configure(given.log_level)
    uvloop.run(serve(given))
