"""Text, binary and JSON: a message is one of two kinds, and JSON is a way to read text.

Beside `make run`, from the top of the repository, with TOKEN as README.md in this folder says:

    .venv/bin/uvicorn --app-dir docs/examples formats:app --port 8104
    .venv/bin/python docs/examples/talk.py ws://127.0.0.1:8104/formats

Type `hello`, `0x00ff` (talk.py sends that as two bytes) and `{"number": 20}`.
"""

from __future__ import annotations

import asyncio
import json
import time
from typing import Annotated, Any

from fastapi import Depends, FastAPI, WebSocket, WebSocketDisconnect

from ws_gateway.bearer import Credentials, Issuer, OAuth2WebSocketPasswordBearer, Verifier

DRAWBRIDGE = "https://localhost:8443"
KEYS = "http://127.0.0.1:8001/.well-known/jwks.json"

app = FastAPI()
app.state.verifier = Verifier(
    issuers=[Issuer(issuer=DRAWBRIDGE, jwks_url=KEYS, audience="drawbridge")], origins=[DRAWBRIDGE]
)
bearer = OAuth2WebSocketPasswordBearer(tokenUrl=f"{DRAWBRIDGE}/token")


@app.websocket("/formats")
async def answer_in_kind(
    websocket: WebSocket, who: Annotated[Credentials, Depends(bearer)]
) -> None:
    """Send bytes back reversed, a JSON object with a field more, other text in capitals."""
    await websocket.accept()
    try:
        async with asyncio.timeout(who.expires_at - time.time()):
            # receive_text(), receive_bytes() and receive_json() are for routes with one kind.
            while (message := await websocket.receive())["type"] == "websocket.receive":
                if message.get("bytes") is not None:
                    await websocket.send_bytes(message["bytes"][::-1])
                elif isinstance(content := parse(message["text"]), dict):
                    await websocket.send_json(content | {"read": True})
                else:
                    await websocket.send_text(message["text"].upper())
    except TimeoutError:
        await websocket.close(3005, "connection expired")
    except WebSocketDisconnect:
        pass


def parse(text: str) -> Any:  # noqa: ANN401 - whatever JSON holds
    """Read JSON; None if it is none."""
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        return None
