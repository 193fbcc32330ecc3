"""An application of one's own behind the same bearer as the gateway.

Start ``make run``, then beside it, from the top of the repository:

    .venv/bin/uvicorn --app-dir docs/examples own_endpoint:app --port 8100

Get a token, with the password that ``make run`` printed:

    TOKEN=$(curl -s --cacert .local/ca.pem https://localhost:8443/token -d grant_type=password \
        -d username=alice -d password=... | .venv/bin/python -c \
        'import json, sys; print(json.load(sys.stdin)["access_token"])')

Use it on either route:

    curl -H "Authorization: Bearer $TOKEN" http://127.0.0.1:8100/me

    TOKEN=$TOKEN .venv/bin/python -c '
    import os
    from websockets.sync.client import connect
    bearer = {"Authorization": "Bearer " + os.environ["TOKEN"]}
    with connect("ws://127.0.0.1:8100/echo", additional_headers=bearer) as socket:
        socket.send("hello")
        print(socket.recv())'

A browser cannot set that header: ``new WebSocket(url, ["echo", "bearer." + token])``.
"""

from __future__ import annotations

import asyncio
import time
from typing import Annotated

from fastapi import Depends, FastAPI, WebSocket

from ws_gateway.bearer import Credentials, Issuer, OAuth2WebSocketPasswordBearer, Verifier

app = FastAPI()
app.state.verifier = Verifier(
    issuers=[
        Issuer(
            issuer="https://localhost:8443",
            jwks_url="http://127.0.0.1:8001/.well-known/jwks.json",
            audience="drawbridge",
        )
    ],
    origins=["https://localhost:8443"],
)
bearer = OAuth2WebSocketPasswordBearer(
    tokenUrl="https://localhost:8443/token", subprotocols=["echo"]
)


@app.get("/me")
async def me(credentials: Annotated[Credentials, Depends(bearer)]) -> dict[str, str]:
    """Answer who is asking."""
    return {"user": credentials.user}


@app.websocket("/echo")
async def echo(websocket: WebSocket, credentials: Annotated[Credentials, Depends(bearer)]) -> None:
    """Send back what comes, under the sender's name, until the token expires."""
    await websocket.accept(subprotocol=websocket.state.admission.subprotocol)
    try:
        async with asyncio.timeout(credentials.expires_at - time.time()):
            async for text in websocket.iter_text():
                await websocket.send_text(f"{credentials.user}: {text}")
    except KeyError:  # iter_text() found no text in the message
        await websocket.close(1003, "text only")
    except TimeoutError:
        await websocket.close(3005, "connection expired")
