"""A room of python-socketio, as an ASGI application."""

from __future__ import annotations

import socketio

server = socketio.AsyncServer(async_mode="asgi", cors_allowed_origins="*")
app = socketio.ASGIApp(server)


async def pass_on(_sid: str, data: object) -> None:
    """Pass what one client says on to all."""
    await server.emit("m", data)


server.on("m", pass_on)
