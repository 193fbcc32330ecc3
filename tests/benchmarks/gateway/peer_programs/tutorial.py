"""A list of connections and a loop, as FastAPI's tutorial describes it for several clients."""

from __future__ import annotations

from fastapi import FastAPI, WebSocket, WebSocketDisconnect

app = FastAPI()


class ConnectionManager:
    """Who is connected to this process."""

    def __init__(self) -> None:
        self.connections: list[WebSocket] = []

    async def connect(self, websocket: WebSocket) -> None:
        """Accept a client."""
        await websocket.accept()
        self.connections.append(websocket)

    def disconnect(self, websocket: WebSocket) -> None:
        """Forget it."""
        self.connections.remove(websocket)

    async def broadcast(self, message: str) -> None:
        """Send to everyone, one after the other."""
        for connection in self.connections:
            await connection.send_text(message)


manager = ConnectionManager()


@app.websocket("/")
async def room(websocket: WebSocket) -> None:
    """Pass what one client says on to all."""
    await manager.connect(websocket)
    try:
        while True:
            await manager.broadcast(await websocket.receive_text())
    except WebSocketDisconnect:
        manager.disconnect(websocket)
