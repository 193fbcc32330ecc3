"""The composition root: which parts a gateway has, and how they meet."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections import Counter
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from math import inf

from fastapi import FastAPI, HTTPException
from fastapi.telemetry import TelemetryConfig
from prometheus_client import CollectorRegistry, GCCollector, PlatformCollector, ProcessCollector
from starlette.requests import HTTPConnection
from starlette.responses import PlainTextResponse
from starlette.types import ASGIApp
from uvicorn.middleware.proxy_headers import ProxyHeadersMiddleware

from ws_gateway import __version__
from ws_gateway.admission import Pace, UnauthenticatedSockets, connection_limit
from ws_gateway.api.access import Access
from ws_gateway.api.explanations import Explanations
from ws_gateway.api.operations import Operations
from ws_gateway.bearer import Issuer, Verifier
from ws_gateway.broker.base import Broker
from ws_gateway.broker.memory import MemoryBroker
from ws_gateway.broker.redis import RedisBroker
from ws_gateway.broker.redis_topology import Topology
from ws_gateway.control.base import Bus
from ws_gateway.control.cluster import Cluster
from ws_gateway.control.memory import MemoryBus
from ws_gateway.control.redis import RedisBus
from ws_gateway.exceptions import ConfigurationError
from ws_gateway.fallbacks.emulation import Emulation
from ws_gateway.hmac_tokens import HMACTokens
from ws_gateway.hooks import Hooks, load_hooks
from ws_gateway.loop_lag import INTERVAL_SECONDS, LoopLag
from ws_gateway.metrics import Buckets, Metrics
from ws_gateway.node import Node
from ws_gateway.orders import Orders
from ws_gateway.presence.base import Presence
from ws_gateway.presence.memory import MemoryPresence
from ws_gateway.presence.redis import RedisPresence
from ws_gateway.rate_limit import Rate
from ws_gateway.revocations.deny_set import Revocation
from ws_gateway.revocations.follower import Follower, Reader
from ws_gateway.revocations.log import RevocationLog
from ws_gateway.revocations.poll import PollReader
from ws_gateway.revocations.stream import KEY as STREAM, StreamReader
from ws_gateway.routes import (
    api,
    asyncapi,
    connections,
    emulation,
    health,
    http_stream,
    page,
    sse,
    websocket,
)
from ws_gateway.routes.cross_origin import CrossOrigin
from ws_gateway.routes.door import Door
from ws_gateway.routes.entrance import Application
from ws_gateway.routes.handshake_clock import HandshakeClock, elapsed
from ws_gateway.session import SessionLimits
from ws_gateway.settings import PREFIX, REDIS, Settings
from ws_gateway.streams import StreamLimits
from ws_gateway.subscription_tokens import SubscriptionTokens
from ws_gateway.writer import WriteLimits

logger = logging.getLogger(__name__)

_KEYS_RETRY_SECONDS = 1.0
# A token seen before costs 10 µs, a signature 100 to 200, and a fetch of keys what it takes.
_VERIFY_BUCKETS = (0.00001, 0.000025, 0.00005, 0.0001, 0.00025, 0.0005, 0.001, 0.01, 0.1, 1)
_WARN_SECONDS = 60.0
# Looking for its providers is a part of what each handshake costs; and its spans have the URL,
# which holds a token where query tokens are accepted.
_NO_TELEMETRY: TelemetryConfig = {"tracing": False, "metrics": False, "logs": False}
_API_BUCKETS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10)


@dataclass(frozen=True, slots=True)
class ServerAPI:
    """The parts of the server API.

    Attributes:
        operations: What its methods do.
        explanations: What it says of connections.
        access: Who may.
        seconds: How long requests took.
    """

    operations: Operations
    explanations: Explanations
    access: Access
    seconds: Buckets


@dataclass(frozen=True, slots=True)
class Gateway:
    """The parts that both of a gateway's applications share.

    Attributes:
        settings: What it was made from.
        node: Its connections.
        verifier: What judges tokens.
        metrics: What it counts.
        unauthenticated: The sockets that have not said who they are.
        cluster: All nodes, which orders are given to.
        api: What the server API does, and how long that took.
        revocations: The logs that are followed, by issuer.
        connection_limit: How many connections may be open.
        emulation: The connections without WebSockets; None where there may be none.
    """

    settings: Settings
    node: Node
    verifier: Verifier
    metrics: Metrics
    unauthenticated: UnauthenticatedSockets
    cluster: Cluster
    api: ServerAPI
    revocations: Mapping[str, RevocationLog]
    connection_limit: int
    emulation: Emulation | None = None

    def conditions(self) -> dict[str, bool]:
        """Say what readiness depends on."""
        return {
            # One that orders do not reach would keep users whom an operator has sent away.
            "broker": self.node.broker.ready() and self.cluster.ready,
            "keys": self.verifier.ready,
            "revocations": all(log.ready for log in self.revocations.values()),
            "not_draining": not self.node.draining,
            "room": self.node.connections < self.connection_limit,
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
    logs = {
        entry.issuer: RevocationLog(entry.issuer, stale_seconds=settings.revocation_stale_seconds)
        for entry in settings.issuers
        if entry.revocations is not None
    }
    verify_seconds = Buckets(_VERIFY_BUCKETS)
    metrics.histogram(
        "gateway_auth_token_verify_seconds",
        "One judgement on an access token; a wait for its issuer's keys included.",
        verify_seconds,
    )
    try:
        verifier = Verifier(
            [
                Issuer(
                    issuer=entry.issuer,
                    jwks_url=entry.jwks_url,
                    audience=entry.audience,
                    user_prefix=entry.user_prefix,
                    revocations=entry.revocations,
                    typ=entry.typ,
                    scope=entry.scope,
                )
                for entry in settings.issuers
            ],
            origins=settings.origins,
            max_token_seconds=settings.max_token_seconds,
            on_fetch=metrics.count_jwks_fetch,
            hmac=_make_hmac_tokens(settings),
            revocations=logs,
            observe=verify_seconds.observe,
        )
    except ConfigurationError as error:
        # It names its argument, which is called like the setting.
        name, _, reason = str(error).partition(": ")
        raise ConfigurationError(f"{PREFIX}{name.upper()}: {reason}") from None
    redis = _find_redis(settings)
    broker, presence, bus = _make_broker(settings, redis, metrics)
    node = Node(
        broker=broker,
        presence=presence,
        channels=replace(settings.load_channels(), insecure=settings.insecure),
        hooks=_load_hooks(settings),
        verify=verifier.verify,
        required_scope=verifier.required_scope,
        subscription_tokens=_make_subscription_tokens(settings),
        metrics=metrics,
        session_limits=SessionLimits(
            connect_timeout=settings.connect_timeout_seconds,
            ping_interval=settings.ping_interval,
            pong_timeout=settings.pong_timeout,
            expiry_grace=settings.expiry_grace_seconds,
            max_channels=settings.max_channels,
            max_age=settings.max_connection_age or inf,
        ),
        write_limits=WriteLimits(
            max_queue_bytes=settings.max_queue_bytes, max_stall_seconds=settings.max_stall_seconds
        ),
        stream_limits=StreamLimits(
            recovery=settings.recovery_max_publication_limit,
            history=settings.history_max_publication_limit,
            check_seconds=settings.position_check_seconds,
        ),
        connections_per_user=settings.max_connections_per_user,
        connections_per_address=settings.max_connections_per_address,
        presence_limit=settings.presence_max_clients,
        tells_last_seen=settings.last_seen_users > 0,
        max_message_bytes=settings.max_message_bytes,
        command_rate=Rate(settings.commands_per_second, settings.commands_burst),
        user_command_rate=Rate(settings.user_commands_per_second, settings.user_commands_burst),
        compression_min_bytes=settings.compression_min_bytes,
        version=f"drawbridge {__version__}",
        loop=asyncio.get_running_loop(),
        revoked=verifier.revoked,
    )
    cluster = Cluster(
        bus, node=node.id, perform=Orders(node).perform, timeout=settings.api_timeout_seconds
    )
    server_api = _make_api(settings, node, cluster, verifier)
    _count_api(metrics, server_api, cluster)
    followers = _make_followers(settings, redis, logs)
    for issuer in verifier.issuers:
        if issuer.issuer in logs:
            logs[issuer.issuer].on_revoked = partial(_close_revoked, node, issuer)
    _count_revocations(metrics, list(logs.values()))
    metrics.gauge(
        "gateway_jwks_last_refresh_timestamp_seconds",
        "When every issuer's keys had been fetched; 0 while some never were.",
        lambda: min(
            (metrics.jwks_fetched_at.get(issuer.issuer, 0.0) for issuer in verifier.issuers),
            default=0.0,
        ),
    )
    limit = connection_limit(settings.max_connections)
    metrics.gauge(
        "gateway_connections_limit",
        "How many connections may be open before handshakes are answered 503.",
        lambda: limit,
    )
    lag = LoopLag(node.loop)
    metrics.histogram(
        "gateway_event_loop_lag_seconds",
        f"By how much a timer was late that rings every {INTERVAL_SECONDS} s.",
        lag.seconds,
    )
    unauthenticated = UnauthenticatedSockets(
        limit=settings.max_unauthenticated,
        limit_per_address=settings.max_unauthenticated_per_address,
    )
    metrics.gauge(
        "gateway_connections_unauthenticated",
        "Open connections that have not said who they are.",
        lambda: len(unauthenticated),
    )
    metrics.gauge(
        "gateway_tasks",
        "Tasks of the event loop.",
        lambda: len(asyncio.all_tasks(node.loop)),
    )
    metrics.table("verified_tokens", lambda: verifier.remembered)
    for table, entries in (
        ("users", node.users),
        ("user_paces", node.paces),
        ("addresses", node.addresses),
        ("streams", node.streams),
        ("timers", node.timers),
        ("closes", node.closes),
    ):
        metrics.table(table, partial(len, entries))
    emulated = _make_emulation(settings, cluster, metrics)
    await node.start()
    await cluster.start()
    lag.start()
    work = [asyncio.create_task(follower.run()) for follower in followers]
    work.append(asyncio.create_task(_load_keys(verifier)))
    if settings.insecure:
        work.append(asyncio.create_task(_warn()))
    try:
        yield Gateway(
            settings,
            node,
            verifier,
            metrics,
            unauthenticated,
            cluster,
            server_api,
            logs,
            limit,
            emulated,
        )
    finally:
        for task in work:
            task.cancel()
        await asyncio.gather(*work, return_exceptions=True)
        await cluster.stop()
        await node.stop()
        lag.stop()
        await verifier.aclose()


def _find_redis(settings: Settings) -> Topology | None:
    if settings.redis_url is None:
        return None
    try:
        return Topology(settings.redis_url.get_secret_value())
    except ValueError as error:
        raise ConfigurationError(f"{PREFIX}REDIS_URL: {error}") from None


def _make_broker(
    settings: Settings, redis: Topology | None, metrics: Metrics
) -> tuple[Broker, Presence, Bus]:
    users = settings.last_seen_users
    if redis is None:
        return MemoryBroker(), MemoryPresence(users=users), MemoryBus()
    broker = RedisBroker(redis, metrics=metrics)
    presence = RedisPresence(broker.commands, ttl=settings.presence_ttl_seconds, users=users)
    return broker, presence, RedisBus(redis, broker.commands)


def _make_api(settings: Settings, node: Node, cluster: Cluster, verifier: Verifier) -> ServerAPI:
    key = settings.api_key
    return ServerAPI(
        operations=Operations(node, cluster),
        explanations=Explanations(cluster),
        access=Access(
            key=None if key is None else key.get_secret_value(),
            scopes={entry.issuer: entry.api_scope for entry in settings.issuers},
            verifier=verifier,
        ),
        seconds=Buckets(_API_BUCKETS),
    )


def _count_api(metrics: Metrics, server_api: ServerAPI, cluster: Cluster) -> None:
    metrics.family(
        "gateway_api_requests",
        "Commands of the server API by method and error code, 0 for none.",
        ("method", "code"),
        server_api.operations.counts,
    )
    metrics.histogram(
        "gateway_api_request_duration_seconds",
        "How long requests to the server API took.",
        server_api.seconds,
    )
    for name, text, read in (
        (
            "gateway_control_malformed",
            "Messages between gateways that were dropped, because they are none.",
            lambda: cluster.malformed,
        ),
        (
            "gateway_control_dropped",
            "Orders between gateways that were dropped, because too many were at work.",
            lambda: cluster.dropped,
        ),
        (
            "gateway_control_unanswered",
            "Orders that not all gateways answered in time.",
            lambda: cluster.unanswered,
        ),
    ):
        metrics.counter(name, text, read)


def _make_emulation(settings: Settings, cluster: Cluster, metrics: Metrics) -> Emulation | None:
    if not (settings.http_stream or settings.sse):
        return None
    made = Emulation(cluster)
    metrics.gauge_by(
        "gateway_fallback_connections",
        "Open connections without WebSockets.",
        "transport",
        lambda: made.sessions.kinds,
    )
    return made


def _count_compression(metrics: Metrics, node: Node) -> None:
    metrics.counter(
        "gateway_compression_input_bytes",
        "Bytes of messages that were compressed, each once for all who read it.",
        lambda: node.deflater.bytes_in,
    )
    metrics.counter(
        "gateway_compression_output_bytes", "To how many.", lambda: node.deflater.bytes_out
    )


def _load_hooks(settings: Settings) -> Hooks | None:
    if not settings.hooks:
        return None
    hooks = load_hooks(settings.hooks)
    hooks.set_timeout(settings.hook_timeout_seconds)
    return hooks


def _make_hmac_tokens(settings: Settings) -> HMACTokens | None:
    if settings.hmac_secret is None:
        return None
    return HMACTokens(
        settings.hmac_secret.get_secret_value().encode(),
        prefixes=[entry.user_prefix for entry in settings.issuers],
    )


def _make_subscription_tokens(settings: Settings) -> SubscriptionTokens | None:
    if settings.hmac_secret is None:
        return None
    return SubscriptionTokens(settings.hmac_secret.get_secret_value().encode())


async def _warn() -> None:
    while True:
        logger.warning(
            "GATEWAY_INSECURE is set: no token is needed and no permission asked for; "
            "this is for tests only"
        )
        await asyncio.sleep(_WARN_SECONDS)


def _make_followers(
    settings: Settings, redis: Topology | None, logs: Mapping[str, RevocationLog]
) -> list[Follower]:
    followers = []
    for entry in settings.issuers:
        reader: Reader
        if entry.revocations is None:
            continue
        if entry.revocations == REDIS and redis is not None:
            reader = StreamReader(redis.endpoint(STREAM))
        else:
            key = settings.revocations_key.get_secret_value() if settings.revocations_key else ""
            reader = PollReader(
                entry.revocations, key=key, stale_seconds=settings.revocation_stale_seconds
            )
        followers.append(Follower(logs[entry.issuer], reader))
    return followers


def _close_revoked(node: Node, issuer: Issuer, revocations: Sequence[Revocation]) -> None:
    subjects = {revocation.subject for revocation in revocations}
    node.revoked(None if "" in subjects else map(issuer.user, subjects))


def _count_revocations(metrics: Metrics, logs: list[RevocationLog]) -> None:
    if not logs:
        return
    metrics.gauge(
        "gateway_revocation_lag_seconds",
        "How long ago the revocation logs were known as a whole; of the worst issuer.",
        lambda: max(log.lag_seconds for log in logs),
    )
    metrics.gauge(
        "gateway_revocation_readable",
        "1 while every revocation log can be read.",
        lambda: all(log.readable for log in logs),
    )
    metrics.gauge("gateway_revocation_rules", "Revocations in force.", lambda: sum(map(len, logs)))
    metrics.counter(
        "gateway_revocation_entries",
        "Entries read from revocation logs.",
        lambda: sum(log.entries for log in logs),
    )
    metrics.counter(
        "gateway_revocation_malformed",
        "Entries that were passed over, because they could not be understood.",
        lambda: sum(log.malformed for log in logs),
    )


async def _load_keys(verifier: Verifier) -> None:
    # Before the first client comes, and until the issuer is up: then the gateway is ready.
    while not await verifier.load_keys():  # noqa: ASYNC110 - another process, no event tells
        await asyncio.sleep(_KEYS_RETRY_SECONDS)


def create_app(gateway: Gateway) -> FastAPI:
    """Make the application for clients."""
    app = Application(
        title="Drawbridge gateway", version=__version__, openapi_url=None, telemetry=_NO_TELEMETRY
    )
    app.state.verifier = gateway.verifier
    door = _make_door(gateway)
    query_token = gateway.settings.query_token
    websocket.add_routes(
        app.router, door=door, query_token=query_token, deflate=gateway.settings.compression
    )
    if gateway.settings.compression:
        _count_compression(gateway.metrics, gateway.node)
    if gateway.emulation is not None:
        _include_fallbacks(app, gateway, door, gateway.emulation)
    app.include_router(page.create_router())
    if gateway.settings.api_public:
        _include_api(app, gateway)
    app.include_router(asyncapi.create_router())
    app.router.default = websocket.not_found
    app.router.redirect_slashes = False  # it would repeat the client's Host header
    proxied: Callable[[ASGIApp], ASGIApp] | None = None
    if gateway.settings.trusted_proxies:
        trusted = list(gateway.settings.trusted_proxies)
        app.add_middleware(ProxyHeadersMiddleware, trusted_hosts=trusted)
        proxied = partial(ProxyHeadersMiddleware, trusted_hosts=trusted)  # type: ignore[assignment]
    app.take_handshakes(websocket.PATH, behind=proxied)
    app.add_exception_handler(HTTPException, _RefusalCounter(gateway.metrics))
    app.add_middleware(HandshakeClock)
    return app


def _make_door(gateway: Gateway) -> Door:
    settings = gateway.settings
    pace = None
    if settings.handshakes_per_second:
        pace = Pace(
            per_second=settings.handshakes_per_second,
            burst=settings.handshakes_burst,
            clock=gateway.node.loop.time,
        )
    door = Door(
        gateway.node,
        gateway.unauthenticated,
        connection_limit=gateway.connection_limit,
        pace=pace,
        has_seen=gateway.verifier.has_seen,
    )
    gateway.metrics.family(
        "gateway_admissions_refused",
        "Handshakes that were kept out whatever their credential, by reason.",
        ("reason",),
        door.refused,
    )
    return door


def _include_fallbacks(app: FastAPI, gateway: Gateway, door: Door, emulated: Emulation) -> None:
    settings, origins = gateway.settings, gateway.verifier.origins
    outcomes: Counter[tuple[str]] = Counter()
    methods: dict[str, Sequence[str]] = {emulation.PATH: emulation.METHODS}
    for kind, wanted in ((http_stream, settings.http_stream), (sse, settings.sse)):
        if wanted:
            methods[kind.PATH] = kind.METHODS
            app.include_router(
                kind.create_router(door=door, emulation=emulated, query_token=settings.query_token)
            )
    app.include_router(
        emulation.create_router(
            emulation=emulated,
            origins=origins,
            max_bytes=settings.max_message_bytes,
            outcomes=outcomes,
        )
    )
    app.add_middleware(CrossOrigin, methods=methods, origins=origins)
    gateway.metrics.family(
        "gateway_emulation_requests",
        "Requests that brought commands, by their outcome.",
        ("result",),
        outcomes,
    )


def create_internal_app(gateway: Gateway) -> FastAPI:
    """Make the application for probes, Prometheus and backends."""
    app = FastAPI(title="Drawbridge gateway, internal", version=__version__)
    if gateway.settings.api:
        _include_api(app, gateway)
    app.include_router(
        health.create_router(registry=gateway.metrics.registry, conditions=gateway.conditions)
    )
    return app


def _include_api(app: FastAPI, gateway: Gateway) -> None:
    parts = gateway.api
    app.include_router(
        api.create_router(
            parts.operations,
            parts.access,
            max_body_bytes=gateway.settings.api_max_body_bytes,
            seconds=parts.seconds,
        )
    )
    app.include_router(connections.create_router(parts.explanations, parts.access))


def create_standalone_app(settings: Settings | None = None) -> FastAPI:
    """Make an application that opens its own gateway, for any ASGI server.

    Without the protocol classes of ``ws_gateway.server`` it serves the same protocol over plain
    ASGI, slower and without WebSocket pings of its own. That server owns the signals, and most
    cut the sockets before they say so: ``app.state.gateway.node.drain`` is for whoever stops it.

    Raises:
        ConfigurationError: A setting is wrong, or not for every server.
    """
    chosen = settings or Settings.from_environment()
    if chosen.insecure:
        raise ConfigurationError(
            "GATEWAY_INSECURE: not under another server, whose listeners are not known here"
        )
    if chosen.api_public:
        chosen.check_api_key()  # short ones are for loopback listeners

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
        if connection.scope["type"] == "websocket" or connection.scope["path"] in _HANDSHAKES:
            self._metrics.handshakes[_RESULTS.get(error.status_code, "error")] += 1
            self._metrics.handshake_seconds.observe(elapsed(connection.scope))
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


_HANDSHAKES = {http_stream.PATH, sse.PATH}
_RESULTS = {
    400: "bad_request",
    401: "unauthorized",
    403: "forbidden",
    405: "bad_request",
    413: "bad_request",
    429: "rate_limited",
    503: "over_capacity",
}
