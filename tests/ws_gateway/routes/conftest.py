"""Gateways under test, each behind its own server."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import httpx2
import pytest
import uvicorn
from uvicorn.server import ServerState

from tests.ws_gateway.routes.front import CHANNELS, PAGE, Front, Issuer
from tests.ws_gateway.routes.streamed_client import CHANNELS as STREAMED_CHANNELS, client
from ws_gateway import verifier
from ws_gateway.app import create_app, open_gateway
from ws_gateway.server import Handshake, HTTPProtocol
from ws_gateway.settings import Settings


@pytest.fixture
def issuer(monkeypatch: pytest.MonkeyPatch) -> Issuer:
    """The issuer that gateways of this test trust."""
    issuer = Issuer()
    monkeypatch.setattr(verifier, "fetch_document", issuer.publish)
    return issuer


@pytest.fixture
async def make_front(
    issuer: Issuer, tmp_path: Path
) -> AsyncIterator[Callable[..., Awaitable[Front]]]:
    """A factory of gateways with these settings; ready, if the issuer is up."""
    channels = tmp_path / "channels.toml"
    channels.write_text(CHANNELS)
    loop = asyncio.get_running_loop()

    async with AsyncExitStack() as opened:

        async def make(**settings: Any) -> Front:  # noqa: ANN401 - settings of all types
            values: dict[str, Any] = {"channels_file": channels, "origins": (PAGE,)} | settings
            chosen = Settings(**values)
            gateway = await opened.enter_async_context(open_gateway(chosen))
            app = create_app(gateway)
            config = uvicorn.Config(
                app,
                http=HTTPProtocol,
                ws=Handshake,
                lifespan="off",
                log_config=None,
                proxy_headers=False,  # uvicorn's own default believes everyone on this machine
            )
            config.load()
            state = ServerState()
            listener = await loop.create_server(
                lambda: HTTPProtocol(config, state, {}), "127.0.0.1", 0
            )
            opened.callback(listener.close)
            while issuer.up and not gateway.verifier.ready:  # noqa: ASYNC110
                await asyncio.sleep(0)
            return Front(gateway, app, listener.sockets[0].getsockname()[1])

        yield make


@pytest.fixture
async def front(make_front: Callable[..., Awaitable[Front]]) -> Front:
    """A gateway with default limits."""
    return await make_front()


@pytest.fixture
async def streaming(make_front: Callable[..., Awaitable[Front]], tmp_path: Path) -> Front:
    """A gateway with the fallbacks switched on."""
    channels = tmp_path / "streamed.toml"
    channels.write_text(STREAMED_CHANNELS)
    return await make_front(http_stream=True, sse=True, channels_file=channels)


@pytest.fixture
async def http(streaming: Front) -> AsyncIterator[httpx2.AsyncClient]:
    """A client of it; nothing is left of its connections."""
    async with client(streaming) as http:
        yield http
    emulation = streaming.gateway.emulation
    assert emulation is not None
    async with asyncio.timeout(10):
        await streaming.empty()
        while len(emulation.sessions):  # noqa: ASYNC110
            await asyncio.sleep(0.001)
    assert not any(emulation.sessions.kinds.values())
