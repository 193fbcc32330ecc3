"""A gateway behind its own server on a port, as its clients see it."""

from __future__ import annotations

import asyncio
import base64
import json
import time
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from fastapi import FastAPI
from jose import jwk, jwt
from jose.backends.base import Key
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import InvalidStatus
from websockets.http11 import Response
from websockets.typing import Subprotocol

from ws_gateway.app import Gateway
from ws_gateway.routes.websocket import PATH

PAGE = "https://app.example.com"
ORIGIN = ("Origin", PAGE)
KEY: Key = jwk.construct(ec.generate_private_key(ec.SECP256R1()), "ES256")  # type: ignore[arg-type]
CHANNELS = """
[client]
personal_channel_namespace = "dm"

[namespaces.dm]
"""


class Issuer:
    """The authorization server: mints tokens, and publishes its key while it is up."""

    def __init__(self) -> None:
        self.up = True

    def mint(self, user: str = "alice", *, kid: str = "k", **changes: object) -> str:
        """Return a token of a user, with these claims changed."""
        now = int(time.time())
        claims: dict[str, Any] = {
            "iss": "https://localhost:8443",
            "aud": ["drawbridge"],
            "exp": now + 600,
            "iat": now,
            "jti": base64.b32encode(user.encode()).decode(),
            "sub": user,
            "client_id": "chat",
            "scope": "connect",
        }
        return jwt.encode(
            claims | changes, KEY, algorithm="ES256", headers={"typ": "at+jwt", "kid": kid}
        )

    def expired(self) -> str:
        """Return a token that was good once."""
        now = int(time.time())
        return self.mint(iat=now - 700, exp=now - 100)

    async def publish(self, _url: str) -> bytes:
        """Answer with the key set."""
        if not self.up:
            raise ConnectionRefusedError
        return json.dumps({"keys": [KEY.public_key().to_dict() | {"kid": "k"}]}).encode()


class Front:
    """A gateway as its clients see it, and what it has inside."""

    def __init__(self, gateway: Gateway, app: FastAPI, port: int) -> None:
        self.gateway = gateway
        self.app = app
        self.port = port

    def url(self, path: str = PATH) -> str:
        """Return the address of a path."""
        return f"ws://127.0.0.1:{self.port}{path}"

    async def connect(
        self,
        *headers: tuple[str, str],
        path: str = PATH,
        subprotocols: list[str] | None = None,
    ) -> ClientConnection:
        """Open a WebSocket."""
        names = [Subprotocol(name) for name in subprotocols] if subprotocols else None
        return await connect(
            self.url(path), additional_headers=list(headers), subprotocols=names, proxy=None
        )

    async def refusal(self, *headers: tuple[str, str], **options: Any) -> Response:  # noqa: ANN401
        """Return what a handshake is refused with."""
        with pytest.raises(InvalidStatus) as caught:
            await self.connect(*headers, **options)
        return caught.value.response

    async def empty(self) -> None:
        """Wait until nobody is inside."""
        while self.handshakes() or self.gateway.node._members:  # noqa: ASYNC110
            await asyncio.sleep(0.001)

    def handshakes(self) -> int:
        """Return how many sockets have not said who they are."""
        return len(self.gateway.unauthenticated)

    def outcome(self, result: str) -> float:
        """Return how many handshakes had this result."""
        value = self.gateway.metrics.registry.get_sample_value(
            "gateway_handshakes_total", {"result": result}
        )
        return value or 0


def bearer(token: str) -> tuple[str, str]:
    """Return the header that carries a token."""
    return "Authorization", f"Bearer {token}"


def cookie(token: str) -> tuple[str, str]:
    """Return the cookie of a browser."""
    return "Cookie", f"__Host-drawbridge={token}"
