"""Greet by name: what the token says of its user is in the credentials.

Beside `make run`, from the top of the repository, with TOKEN as README.md in this folder says:

    .venv/bin/uvicorn --app-dir docs/examples greeting:app --port 8102
    .venv/bin/python docs/examples/talk.py ws://127.0.0.1:8102/greeting

`Credentials.user` is the id that never changes; `Credentials.info` is a JSON object for
others to see, or None, and what is in it is the issuer's business.
"""

from __future__ import annotations

import json
from typing import Annotated

from fastapi import Depends, FastAPI, WebSocket

from ws_gateway.bearer import Credentials, Issuer, OAuth2WebSocketPasswordBearer, Verifier

DRAWBRIDGE = "https://localhost:8443"
KEYS = "http://127.0.0.1:8001/.well-known/jwks.json"

app = FastAPI()
app.state.verifier = Verifier(
    issuers=[Issuer(issuer=DRAWBRIDGE, jwks_url=KEYS, audience="drawbridge")], origins=[DRAWBRIDGE]
)
bearer = OAuth2WebSocketPasswordBearer(tokenUrl=f"{DRAWBRIDGE}/token")


def name_of(who: Credentials) -> str:
    """Return the name that the issuer gave, else the id."""
    name = json.loads(who.info or b"{}").get("name")
    return name if isinstance(name, str) else who.user


@app.websocket("/greeting")
async def greet(websocket: WebSocket, who: Annotated[Credentials, Depends(bearer)]) -> None:
    """Greet and go."""
    await websocket.accept()
    await websocket.send_text(f"hello {name_of(who)}")
    await websocket.close(1000, "that was all")
