"""The same over ``broadcaster`` and Redis, as FastAPI's tutorial advises for several processes."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from broadcaster import Broadcast
from fastapi import FastAPI, WebSocket

broadcast = Broadcast(os.environ["REDIS_URL"])


@asynccontextmanager
async def lifespan(_app: FastAPI) -> AsyncIterator[None]:
    """Be connected to Redis for as long as the application runs."""
    await broadcast.connect()
    # Its listener ends before the first subscription is there, and begins again with the second.
    async with broadcast.subscribe(channel="nothing"):
        yield
    await broadcast.disconnect()


app = FastAPI(lifespan=lifespan)


@app.websocket("/")
async def room(websocket: WebSocket) -> None:
    """Pass what one client says on to all."""
    await websocket.accept()
    async with asyncio.TaskGroup() as group:
        group.create_task(_read(websocket))
        group.create_task(_write(websocket))


async def _read(websocket: WebSocket) -> None:
    async for message in websocket.iter_text():
        await broadcast.publish(channel="room", message=message)


async def _write(websocket: WebSocket) -> None:
    async with broadcast.subscribe(channel="room") as subscriber:
        async for event in subscriber:
            await websocket.send_text(event.message)
