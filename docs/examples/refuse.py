"""Refuse a bad message: close with a code that programs read and a reason for people.

Beside `make run`, from the top of the repository, with TOKEN as README.md in this folder says:

    .venv/bin/uvicorn --app-dir docs/examples refuse:app --port 8105
    .venv/bin/python docs/examples/talk.py ws://127.0.0.1:8105/refuse

Type a word, then an empty line, or `0x00`, or something longer than 20 characters. The codes are
those of RFC 6455 section 7.4.1; a reason has at most 123 bytes.
"""

from __future__ import annotations

import asyncio
import time
from typing import Annotated

from fastapi import Depends, FastAPI, WebSocket, WebSocketDisconnect
from starlette.types import Message

from ws_gateway.bearer import Credentials, Issuer, OAuth2WebSocketPasswordBearer, Verifier

DRAWBRIDGE = "https://localhost:8443"
KEYS = "http://127.0.0.1:8001/.well-known/jwks.json"

app = FastAPI()
app.state.verifier = Verifier(
    issuers=[Issuer(issuer=DRAWBRIDGE, jwks_url=KEYS, audience="drawbridge")], origins=[DRAWBRIDGE]
)
bearer = OAuth2WebSocketPasswordBearer(tokenUrl=f"{DRAWBRIDGE}/token")

MAX_CHARACTERS = 20


class BadMessageError(Exception):
    """A message that ends the connection, with the code and the reason to say so."""

    def __init__(self, code: int, reason: str) -> None:
        super().__init__(code, reason)
        self.code = code
        self.reason = reason


@app.websocket("/refuse")
async def refuse(websocket: WebSocket, who: Annotated[Credentials, Depends(bearer)]) -> None:
    """Take good messages until the first bad one."""
    await websocket.accept()
    try:
        async with asyncio.timeout(who.expires_at - time.time()):
            while True:
                await websocket.send_text(f"good: {check(await websocket.receive())}")
    except BadMessageError as error:
        await websocket.close(error.code, error.reason)
    except TimeoutError:
        await websocket.close(3005, "connection expired")
    except WebSocketDisconnect:
        pass


def check(message: Message) -> str:
    """Return a good message's text.

    Raises:
        BadMessageError: It is not good.
        WebSocketDisconnect: There is none, the client has gone.
    """
    if message["type"] == "websocket.disconnect":
        raise WebSocketDisconnect(message["code"])
    text: str | None = message.get("text")
    if text is None:
        raise BadMessageError(1003, "text only")
    if not text:
        raise BadMessageError(1008, "say something")
    if len(text) > MAX_CHARACTERS:
        raise BadMessageError(1009, f"at most {MAX_CHARACTERS} characters")
    return text
