"""What tests of a connection say to it, and what they hear if it refuses."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from tests.ws_gateway.conftest import Gateway, Peer
from ws_gateway.credentials import Credentials

MakeCredentials = Callable[..., Credentials]

MakeGateway = Callable[..., Gateway]

CONNECT = {"id": 1, "connect": {}}

CONNECT_BY_TOKEN = {"id": 1, "connect": {"token": "good"}}


def subscribe(channel: str, command_id: int = 2) -> dict[str, Any]:
    """Return a command."""
    return {"id": command_id, "subscribe": {"channel": channel}}


def publish(channel: str, data: object, command_id: int = 3) -> dict[str, Any]:
    """Return a command."""
    return {"id": command_id, "publish": {"channel": channel, "data": data}}


def resume(channel: str, offset: int, epoch: str, **more: object) -> dict[str, Any]:
    """Return a command that subscribes where it broke off."""
    request = {"channel": channel, "recover": True, "offset": offset, "epoch": epoch, **more}
    return {"id": 2, "subscribe": request}


def error(code: int, message: str, command_id: int = 0, **more: object) -> dict[str, Any]:
    """Return a reply."""
    reply = {"id": command_id} if command_id else {}
    return reply | {"error": {"code": code, "message": message} | more}


async def by_token(gateway: Gateway, credentials: Credentials) -> Peer:
    """Connect with a token in the command."""
    gateway.tokens.known["good"] = credentials
    peer = gateway.open()
    (reply,) = await peer.ask(CONNECT_BY_TOKEN)
    assert "connect" in reply
    return peer
