"""Send from another thread: it hands each message to the loop, which alone touches the socket.

Beside `make run`, from the top of the repository, with TOKEN as README.md in this folder says:

    .venv/bin/uvicorn --app-dir docs/examples from_thread:app --port 8109
    .venv/bin/python docs/examples/talk.py ws://127.0.0.1:8109/from_thread

Type a number: it is counted up to in a thread, as a library that blocks would work there.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
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


def work(steps: int, tell: Callable[[str], None]) -> None:
    """Block for a while and tell how far it is; runs in a thread."""
    for step in range(1, steps + 1):
        time.sleep(0.2)
        tell(f"{step} of {steps}")


async def run(websocket: WebSocket, steps: int) -> None:
    """Do the work in a thread and send on what it tells."""
    loop = asyncio.get_running_loop()
    told: asyncio.Queue[str | None] = asyncio.Queue()

    def tell(text: str | None) -> None:
        # The one call of a loop that other threads may make; queues and sockets are the loop's.
        loop.call_soon_threadsafe(told.put_nowait, text)

    working = asyncio.create_task(asyncio.to_thread(work, steps, tell))
    working.add_done_callback(lambda _: tell(None))
    while (text := await told.get()) is not None:
        await websocket.send_text(text)
    await working


@app.websocket("/from_thread")
async def count(websocket: WebSocket, who: Annotated[Credentials, Depends(bearer)]) -> None:
    """Take one order after the other."""
    await websocket.accept()
    try:
        async with asyncio.timeout(who.expires_at - time.time()):
            while True:
                text = await websocket.receive_text()
                if text in {"1", "2", "3", "4", "5", "6", "7", "8", "9"}:
                    await run(websocket, int(text))
                else:
                    await websocket.send_text("a number from 1 to 9, please")
    except KeyError:  # receive_text() found no text in the message
        await websocket.close(1003, "text only")
    except TimeoutError:
        await websocket.close(3005, "connection expired")
    except WebSocketDisconnect:
        pass
