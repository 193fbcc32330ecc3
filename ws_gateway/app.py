"""The composition root: which parts a gateway has, and how they meet."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import AsyncIterator
from dataclasses import dataclass

from fastapi import FastAPI, HTTPException
from prometheus_client import CollectorRegistry, GCCollector, PlatformCollector, ProcessCollector
from starlette.requests import HTTPConnection
from starlette.responses import PlainTextResponse
from uvicorn.middleware.proxy_headers import ProxyHeadersMiddleware

from ws_gateway import __version__
from ws_gateway.admission import UnauthenticatedSockets
from ws_gateway.bearer import Issuer, Verifier
from ws_gateway.broker.base import Broker
from ws_gateway.broker.memory import MemoryBroker
from ws_gateway.broker.redis import RedisBroker
from ws_gateway.exceptions import ConfigurationError
from ws_gateway.hooks import load_hooks
from ws_gateway.metrics import Metrics
from ws_gateway.node import Node
from ws_gateway.routes import health, page, websocket
from ws_gateway.session import SessionLimits
from ws_gateway.settings import PREFIX, Settings
from ws_gateway.writer import WriteLimits

logger = logging.getLogger(__name__)

_KEYS_RETRY_SECONDS = 1.0


@dataclass(frozen=True, slots=True)
class Gateway:
    """The parts that both of a gateway's applications share.

    Attributes:
        settings: What it was made from.
        node: Its connections.
        verifier: What judges tokens.
        metrics: What it counts.
        unauthenticated: The sockets that have not said who they are.
    """

    settings: Settings
    node: Node
    verifier: Verifier
    metrics: Metrics
    unauthenticated: UnauthenticatedSockets

    def conditions(self) -> dict[str, bool]:
        """Say what readiness depends on."""
        return {
            "broker": self.node.broker.ready(),
            "keys": self.verifier.ready,
            "not_draining": not self.node.draining,
        }


@contextlib.asynccontextmanager
async def open_gateway(settings: Settings) -> AsyncIterator[Gateway]:
    """Build a gateway's parts on the running event loop, and take them down afterwards.

    Raises:
        ConfigurationError: A setting names something that cannot be had.
    """
    registry = CollectorRegistry()
    for collector in (ProcessCollector, PlatformCollector, GCCollector):
        collector(registry=registry)
    metrics = Metrics(registry, __version__)
    try:
        verifier = Verifier(
            [
                Issuer(
                    issuer=entry.issuer,
                    jwks_url=entry.jwks_url,
                    audience=entry.audience,
                    user_prefix=entry.user_prefix,
                    typ=entry.typ,
                    scope=entry.scope,
                )
                for entry in settings.issuers
            ],
            origins=settings.origins,
            max_token_seconds=settings.max_token_seconds,
            on_fetch=lambda _issuer, good: metrics.jwks_refreshes.labels(
                "ok" if good else "error"
            ).inc(),
        )
    except ConfigurationError as error:
        # It names its argument, which is called like the setting.
        name, _, reason = str(error).partition(": ")
        raise ConfigurationError(f"{PREFIX}{name.upper()}: {reason}") from None
    node = Node(
        broker=_make_broker(settings, metrics),
        channels=settings.load_channels(),
        hooks=load_hooks(settings.hooks) if settings.hooks else None,
        verify=verifier.verify,
        required_scope=verifier.required_scope,
        metrics=metrics,
        session_limits=SessionLimits(
            connect_timeout=settings.connect_timeout_seconds,
            ping_interval=settings.ping_interval,
            pong_timeout=settings.pong_timeout,
            expiry_grace=settings.expiry_grace_seconds,
            max_channels=settings.max_channels,
        ),
        write_limits=WriteLimits(
            max_queue_bytes=settings.max_queue_bytes, max_stall_seconds=settings.max_stall_seconds
        ),
        max_message_bytes=settings.max_message_bytes,
        version=f"drawbridge {__version__}",
        loop=asyncio.get_running_loop(),
    )
    unauthenticated = UnauthenticatedSockets(
        limit=settings.max_unauthenticated,
        limit_per_address=settings.max_unauthenticated_per_address,
    )
    await node.start()
    loading = asyncio.create_task(_load_keys(verifier))
    try:
        yield Gateway(settings, node, verifier, metrics, unauthenticated)
    finally:
        loading.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await loading
        await node.stop()
        await verifier.aclose()


def _make_broker(settings: Settings, metrics: Metrics) -> Broker:
    if settings.redis_url is None:
        return MemoryBroker()
    try:
        return RedisBroker(settings.redis_url.get_secret_value(), metrics=metrics)
    except ValueError as error:
        raise ConfigurationError(f"{PREFIX}REDIS_URL: {error}") from None


async def _load_keys(verifier: Verifier) -> None:
    # Before the first client comes, and until the issuer is up: then the gateway is ready.
    while not await verifier.load_keys():  # noqa: ASYNC110 - another process, no event tells
        await asyncio.sleep(_KEYS_RETRY_SECONDS)


def create_app(gateway: Gateway) -> FastAPI:
    """Make the application for clients."""
    app = FastAPI(title="Drawbridge gateway", version=__version__, openapi_url=None)
    app.state.verifier = gateway.verifier
    app.include_router(
        websocket.create_router(
            node=gateway.node,
            unauthenticated=gateway.unauthenticated,
            query_token=gateway.settings.query_token,
        )
    )
    app.include_router(page.create_router())
    app.router.default = websocket.not_found
    app.router.redirect_slashes = False  # it would repeat the client's Host header
    if gateway.settings.trusted_proxies:
        app.add_middleware(
            ProxyHeadersMiddleware, trusted_hosts=list(gateway.settings.trusted_proxies)
        )
    app.add_exception_handler(HTTPException, _RefusalCounter(gateway.metrics))
    return app


def create_internal_app(gateway: Gateway) -> FastAPI:
    """Make the application for probes and Prometheus."""
    app = FastAPI(title="Drawbridge gateway, internal", version=__version__)
    app.include_router(
        health.create_router(registry=gateway.metrics.registry, conditions=gateway.conditions)
    )
    return app


def create_standalone_app(settings: Settings | None = None) -> FastAPI:
    """Make an application that opens its own gateway, for any ASGI server.

    Without the protocol classes of ``ws_gateway.server`` it serves the same protocol over plain
    ASGI, slower and without WebSocket pings of its own.
    """
    chosen = settings or Settings.from_environment()

    @contextlib.asynccontextmanager
    async def lifespan(outer: FastAPI) -> AsyncIterator[None]:
        async with open_gateway(chosen) as gateway:
            outer.state.gateway = gateway
            outer.mount("/", create_app(gateway))
            yield

    return FastAPI(lifespan=lifespan, openapi_url=None)


class _RefusalCounter:
    """Answers an ``HTTPException`` in plain text, counts it and logs a line."""

    def __init__(self, metrics: Metrics) -> None:
        self._metrics = metrics

    async def __call__(self, connection: HTTPConnection, error: Exception) -> PlainTextResponse:
        if not isinstance(error, HTTPException):
            raise TypeError("registered for HTTPException only") from error
        if connection.scope["type"] == "websocket":
            self._metrics.handshakes.labels(_RESULTS.get(error.status_code, "error")).inc()
            reason = getattr(error.__cause__ and error.__cause__.__cause__, "reason", "")
            logger.info(
                "handshake refused",
                extra={
                    "status": error.status_code,
                    "detail": error.detail,
                    "reason": reason,
                    "address": connection.client.host if connection.client else "",
                },
            )
        return PlainTextResponse(error.detail, error.status_code, error.headers)


_RESULTS = {
    400: "bad_request",
    401: "unauthorized",
    403: "forbidden",
    429: "rate_limited",
    503: "over_capacity",
}
