"""The server speaks by itself: it sends the time every few seconds, while the client may speak.

Beside `make run`, from the top of the repository, with TOKEN as README.md in this folder says:

    .venv/bin/uvicorn --app-dir docs/examples clock:app --port 8101
    .venv/bin/python docs/examples/talk.py ws://127.0.0.1:8101/clock

Type something: the answer comes between two times.
"""

from __future__ import annotations

import asyncio
import datetime as dt
import time
from typing import Annotated

from fastapi import Depends, FastAPI, WebSocket, WebSocketDisconnect

from ws_gateway.bearer import Credentials, Issuer, OAuth2WebSocketPasswordBearer, Verifier

DRAWBRIDGE = "https://localhost:8443"
KEYS = "http://127.0.0.1:8001/.well-known/jwks.json"

app = FastAPI()
app.state.verifier = Verifier(
    issuers=[Issuer(issuer=DRAWBRIDGE, jwks_url=KEYS, audience="drawbridge")], origins=[DRAWBRIDGE]
)
bearer = OAuth2WebSocketPasswordBearer(tokenUrl=f"{DRAWBRIDGE}/token")

INTERVAL_SECONDS = 3.0


@app.websocket("/clock")
async def clock(websocket: WebSocket, who: Annotated[Credentials, Depends(bearer)]) -> None:
    """Answer what is said; a task beside sends the time. Both end with the connection."""
    await websocket.accept()
    try:
        async with (
            asyncio.timeout(who.expires_at - time.time()),
            asyncio.TaskGroup() as tasks,
        ):
            tasks.create_task(tell_time(websocket))
            while True:
                text = await websocket.receive_text()
                await websocket.send_text(f"you said: {text}")
    # A group raises a group of errors; each handler takes its own kind out of it.
    except* KeyError:
        await websocket.close(1003, "text only")
    except* TimeoutError:
        await websocket.close(3005, "connection expired")
    except* WebSocketDisconnect:
        pass


async def tell_time(websocket: WebSocket) -> None:
    """Send the time until cancelled."""
    while True:
        await websocket.send_text(f"{dt.datetime.now(dt.UTC):%H:%M:%S} UTC")
        await asyncio.sleep(INTERVAL_SECONDS)
