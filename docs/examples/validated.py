"""A pydantic model says what a message is; what does not fit is answered, and it goes on.

Beside `make run`, from the top of the repository, with TOKEN as README.md in this folder says:

    .venv/bin/uvicorn --app-dir docs/examples validated:app --port 8107
    .venv/bin/python docs/examples/talk.py ws://127.0.0.1:8107/validated

Type `{"text": "hello"}`, `{"text": "", "mood": "odd"}` and `hello`.
"""

from __future__ import annotations

import asyncio
import time
from typing import Annotated, Literal

from fastapi import Depends, FastAPI, WebSocket, WebSocketDisconnect
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from ws_gateway.bearer import Credentials, Issuer, OAuth2WebSocketPasswordBearer, Verifier

DRAWBRIDGE = "https://localhost:8443"
KEYS = "http://127.0.0.1:8001/.well-known/jwks.json"

app = FastAPI()
app.state.verifier = Verifier(
    issuers=[Issuer(issuer=DRAWBRIDGE, jwks_url=KEYS, audience="drawbridge")], origins=[DRAWBRIDGE]
)
bearer = OAuth2WebSocketPasswordBearer(tokenUrl=f"{DRAWBRIDGE}/token")


class Remark(BaseModel):
    """What may be said."""

    model_config = ConfigDict(extra="forbid")

    text: str = Field(min_length=1, max_length=200)
    mood: Literal["calm", "glad", "cross"] = "calm"


@app.websocket("/validated")
async def take(websocket: WebSocket, who: Annotated[Credentials, Depends(bearer)]) -> None:
    """Answer every message with what was understood, or with what is wrong with it."""
    await websocket.accept()
    try:
        async with asyncio.timeout(who.expires_at - time.time()):
            while True:
                await websocket.send_json(read(await websocket.receive_text()))
    except KeyError:  # receive_text() found no text in the message
        await websocket.close(1003, "text only")
    except TimeoutError:
        await websocket.close(3005, "connection expired")
    except WebSocketDisconnect:
        pass


def read(text: str) -> dict[str, object]:
    """Return the message as the model has it, or the errors: where, and what."""
    try:
        return {"accepted": Remark.model_validate_json(text).model_dump()}
    except ValidationError as error:
        return {"errors": [{"at": list(one["loc"]), "is": one["msg"]} for one in error.errors()]}
