"""From connections to pods, by what a connection was measured to cost.

A process is one core at most, so each number is the largest of several bounds: how many a pod is
meant to hold, how busy its core may be, how many ports and files there are. docs/operations.md says
where the figures are from, and what nobody has measured.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import ceil

MICROSECOND = 1e-6
MIB = 1024 * 1024


@dataclass(frozen=True, slots=True)
class Costs:
    """What was measured, on two noisy cores; the worse of two figures where there are two.

    Attributes:
        connect: CPU seconds of a gateway for a handshake with ES256 and two subscriptions.
        command: For one frame in, with its reply.
        delivery: For one frame out, alone in its write.
        received: For one publication that arrives from Redis.
        connection_bytes: Memory of a gateway for an idle connection.
        gateway_bytes: And for none.
        publication: CPU seconds of Redis: offset, history and publish in one step.
        subscriber: For each gateway that it tells.
        front_bytes: Memory of nginx for a socket with TLS.
        refresh: CPU seconds of the token service for the next access token.
        ports: From one address of nginx to one of a gateway.
    """

    connect: float = 710 * MICROSECOND
    command: float = 8.9 * MICROSECOND
    delivery: float = 6.5 * MICROSECOND
    received: float = 1.1 * MICROSECOND
    connection_bytes: float = 10.2 * 1024
    gateway_bytes: float = 100 * MIB
    publication: float = 8.3 * MICROSECOND
    subscriber: float = 0.75 * MICROSECOND
    front_bytes: float = 44 * 1024
    refresh: float = 2800 * MICROSECOND
    ports: int = 28_232


@dataclass(frozen=True, slots=True, kw_only=True)
class Load:
    """What clients do.

    Attributes:
        connections: Open at the same time, at least one.
        publications: Of each connection in a second.
        room: Connections that get each of them.
        life_seconds: Of a connection.
        ping_seconds: Between two pings.
        token_seconds: Of an access token, after which a client fetches another.
    """

    connections: int
    publications: float = 0.01
    room: int = 10
    life_seconds: float = 3600
    ping_seconds: float = 25
    token_seconds: float = 600


@dataclass(frozen=True, slots=True)
class Limits:
    """How full things may be; those of ``k8s/``.

    Attributes:
        per_gateway: Connections of a pod at which the autoscaler adds one; see docs/operations.md.
        busy: Share of a core.
        front_connections: Sockets that nginx' workers of one pod may hold.
        front_full: Share of them.
        auth_workers: Processes of a pod of the token service.
        balanced: Whether nginx knows the pods (``balanced-gateways``), or one address of them all.
    """

    per_gateway: int = 6000
    busy: float = 0.6
    front_connections: int = 32_768
    front_full: float = 0.7
    auth_workers: int = 2
    balanced: bool = False


@dataclass(frozen=True, slots=True)
class Need:
    """What it takes.

    Attributes:
        gateways: Pods, one of which may be away.
        gateway_busy: Share of its core, of each when all are there.
        gateway_bytes: Memory of each when one is away.
        redis_busy: Share of the core of one Redis; above 1 there is none that fast.
        fronts: Pods of nginx, one of which may be away.
        front_bytes: Memory of each when one is away.
        auths: Pods of the token service, one of which may be away.
        return_seconds: In which the gateways take all connections again, if all were lost at once.
    """

    gateways: int
    gateway_busy: float
    gateway_bytes: float
    redis_busy: float
    fronts: int
    front_bytes: float
    auths: int
    return_seconds: float


def need(load: Load, limits: Limits | None = None, costs: Costs | None = None) -> Need:
    """Return what this load takes.

    Args:
        load: What clients do.
        limits: Those of the manifests unless given.
        costs: Those measured unless given.
    """
    limits, costs = limits or Limits(), costs or Costs()
    number = load.connections
    published = number * load.publications
    connection = (
        (costs.delivery + costs.command) / load.ping_seconds
        + load.publications * (costs.command + load.room * costs.delivery)
        + costs.connect / load.life_seconds
    )
    # A publication reaches a gateway once, however many there listen: more gateways, more of this.
    received = published * load.room * costs.received
    work = number * connection + received
    working = max(ceil(number / limits.per_gateway), ceil(work / limits.busy))
    told = min(load.room, working)
    doors = costs.ports * (working if limits.balanced else 1)
    per_front = min(limits.front_connections, doors) * limits.front_full
    fronts = ceil(number / per_front)
    refreshing = number / load.token_seconds * costs.refresh
    auths = max(1, ceil(refreshing / (limits.busy * limits.auth_workers)))
    return Need(
        gateways=working + 1,
        gateway_busy=work / (working + 1),
        gateway_bytes=costs.gateway_bytes + number / working * costs.connection_bytes,
        redis_busy=published * (costs.publication + told * costs.subscriber),
        fronts=fronts + 1,
        front_bytes=number / fronts * costs.front_bytes,
        auths=auths + 1,
        return_seconds=number * costs.connect / ((working + 1) * limits.busy),
    )
