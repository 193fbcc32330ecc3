"""Close on request, with a code of one's own: 4000 to 4999 are the application's.

Beside `make run`, from the top of the repository, with TOKEN as README.md in this folder says:

    .venv/bin/uvicorn --app-dir docs/examples goodbye:app --port 8106
    .venv/bin/python docs/examples/talk.py ws://127.0.0.1:8106/goodbye

Type `pause` or `leave`; anything else is no request. What the numbers mean is between you and your
clients; here the first asks to be called again and the second does not.
"""

from __future__ import annotations

import asyncio
import enum
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


class Goodbye(enum.IntEnum):
    """How a conversation ends."""

    PAUSE = 4001
    LEAVE = 4002


REQUESTS = {"pause": Goodbye.PAUSE, "leave": Goodbye.LEAVE}
REASONS = {Goodbye.PAUSE: "come back soon", Goodbye.LEAVE: "farewell"}


@app.websocket("/goodbye")
async def converse(websocket: WebSocket, who: Annotated[Credentials, Depends(bearer)]) -> None:
    """Talk until asked to stop."""
    await websocket.accept()
    try:
        async with asyncio.timeout(who.expires_at - time.time()):
            while (request := await websocket.receive_text()) not in REQUESTS:
                await websocket.send_text("say pause or leave")
        code = REQUESTS[request]
        await websocket.close(code, REASONS[code])
    except KeyError:  # receive_text() found no text in the message
        await websocket.close(1003, "text only")
    except TimeoutError:
        await websocket.close(3005, "connection expired")
    except WebSocketDisconnect:
        pass
