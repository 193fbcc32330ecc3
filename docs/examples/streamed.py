"""A long answer in pieces, as a language model gives it; the listener may stop it in the middle.

Beside `make run`, from the top of the repository, with TOKEN as README.md in this folder says:

    .venv/bin/uvicorn --app-dir docs/examples streamed:app --port 8108
    .venv/bin/python docs/examples/talk.py ws://127.0.0.1:8108/streamed

Type a question, and while the answer runs, `stop`. The answer is a task of its own, so the loop
that reads is free to hear the word; stopping is cancelling the task.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import AsyncGenerator
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


async def answer(question: str) -> AsyncGenerator[str, None]:
    """Give a long answer, a word at a time; put your model here."""
    for word in f"{question}? {'On the one hand, on the other hand; ' * 20}".split():
        yield word + " "
        await asyncio.sleep(0.1)


async def speak(websocket: WebSocket, question: str) -> None:
    """Send the answer's pieces as they come, then its end."""
    async with contextlib.aclosing(answer(question)) as pieces:  # a stopped model stops, too
        async for piece in pieces:
            await websocket.send_json({"piece": piece})
    await websocket.send_json({"end": "complete"})


@app.websocket("/streamed")
async def converse(websocket: WebSocket, who: Annotated[Credentials, Depends(bearer)]) -> None:
    """Answer one question at a time."""
    await websocket.accept()
    speaking: asyncio.Task[None] | None = None
    try:
        async with (
            asyncio.timeout(who.expires_at - time.time()),
            asyncio.TaskGroup() as tasks,
        ):
            while True:
                text = await websocket.receive_text()
                busy = speaking is not None and not speaking.done()
                if text == "stop":
                    if speaking is not None and speaking.cancel():
                        await asyncio.wait([speaking])
                        await websocket.send_json({"end": "stopped"})
                elif busy:
                    await websocket.send_json({"error": "one question at a time"})
                else:
                    speaking = tasks.create_task(speak(websocket, text))
    # A group raises a group of errors; each handler takes its own kind out of it.
    except* KeyError:
        await websocket.close(1003, "text only")
    except* TimeoutError:
        await websocket.close(3005, "connection expired")
    except* WebSocketDisconnect:
        pass
