"""A Redis Cluster: which server has which slot, and requests that go to the right one."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import random
from collections.abc import Callable
from functools import partial
from typing import Any

import hiredis
from redis.crc import key_slot
from redis.exceptions import AskError, ClusterDownError, MovedError, RedisError, TryAgainError
from typing_extensions import override

from ws_gateway.exceptions import BrokerUnavailable
from ws_gateway.redis_commands import Commands, Requests, Script
from ws_gateway.redis_endpoint import Address, Endpoint, Node
from ws_gateway.redis_link import Timing

logger = logging.getLogger(__name__)

SLOTS = 16_384

_CLUSTER_SLOTS = hiredis.pack_command((b"CLUSTER", b"SLOTS"))  # type: ignore[arg-type]
_LOOK_SECONDS = 5.0
_UNSETTLED_SECONDS = 0.25  # while a server cannot be reached: it may be replaced any moment
_AGAIN_SECONDS = 0.05
# What says where a command goes: the place of its first key, or of its channel.
_KEY_AT = {b"EVALSHA": 3, b"EVAL": 3}
_FIRST = 1
_REDIRECTIONS = (AskError, TryAgainError, ClusterDownError)
"""Nothing was executed; MovedError is an AskError."""


class ClusterMap:
    """Which server has which slot, as far as is known; looked up again when that changes.

    Args:
        address: Of some servers.
        timing: How patient it is.
        jitter: See Link.

    Attributes:
        settled: Says whether everything that is needed can be reached; asked between looks.
    """

    def __init__(
        self,
        address: Address,
        *,
        timing: Timing,
        jitter: Callable[[], float] = random.random,
    ) -> None:
        self.settled: Callable[[], bool] = lambda: True
        self._address = address
        self._timing = timing
        self._jitter = jitter
        self._owners: list[Node | None] = [None] * SLOTS
        self._listeners: list[Callable[[], None]] = []
        self._wake = asyncio.Event()

    @property
    def complete(self) -> bool:
        """Whether every slot has a server."""
        return None not in self._owners

    def nodes(self) -> set[Node]:
        """Return the servers that have slots."""
        return {node for node in self._owners if node is not None}

    def owner(self, key: bytes) -> Node | None:
        """Return the server that has a key or a channel; None if that is not known."""
        return self._owners[key_slot(key)]

    def listen(self, changed: Callable[[], None]) -> None:
        """Have a function called after every change; synchronous, must not raise."""
        self._listeners.append(changed)

    def endpoint(self, node: Node) -> Endpoint:
        """Return the way to one server."""
        return Endpoint(_at(self._address, node))

    def endpoint_of(self, key: bytes) -> Endpoint:
        """Return the way to whichever server has a key when it is taken."""

        async def locate() -> Node:
            async with asyncio.timeout(self._timing.connect):
                owner = (await self._find())[key_slot(key)]
            if owner is None:
                raise RedisError("no server has the slot")
            return owner

        return Endpoint(_at(self._address, None), locate)

    def moved(self, error: MovedError) -> None:
        """Believe a server that says who has a slot now."""
        node = (str(error.host), int(error.port))
        if self._owners[error.slot_id] != node:
            owners = self._owners.copy()
            owners[error.slot_id] = node
            self._take(owners)
            # One slot seldom moves alone.
            self._wake.set()

    async def run(self) -> None:
        """Look up who has what, again and again, until cancelled."""
        failing = False
        while True:
            self._wake.clear()
            try:
                async with asyncio.timeout(self._timing.connect):
                    self._take(await self._find())
                failing = False
            except (RedisError, OSError, TimeoutError) as error:
                level = logging.DEBUG if failing else logging.WARNING
                failing = True
                fields = {"reason": f"{type(error).__name__}: {error}"}
                logger.log(level, "redis cluster is away", extra=fields)
            except Exception:
                logger.exception("redis cluster not understood")
            calm = self.complete and not failing and self.settled()
            seconds = _LOOK_SECONDS if calm else _UNSETTLED_SECONDS
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(seconds * (0.5 + 0.5 * self._jitter())):
                    await self._wake.wait()
            # A cluster that is being rearranged is not asked for every slot.
            await asyncio.sleep(_AGAIN_SECONDS)

    async def _find(self) -> list[Node | None]:
        """Ask servers until one answers.

        Raises:
            RedisError, OSError: The last one's failure.
        """
        # Those in use first: one that has just come back may tell of former days.
        known = random.sample(sorted(used := self.nodes()), len(used))
        known += set(self._address.nodes) - used
        for number, node in enumerate(known, 1):
            try:
                return await self._ask(node)
            except (RedisError, OSError, TimeoutError):
                if number == len(known):
                    raise
        raise RedisError("no server is known")

    async def _ask(self, node: Node) -> list[Node | None]:
        connection = self.endpoint(node).connection()
        try:
            async with asyncio.timeout(self._timing.connect / 2):
                await connection.connect()  # type: ignore[no-untyped-call]
                await connection.send_packed_command(_CLUSTER_SLOTS, check_health=False)
                return _read_slots(await connection.read_response(), node)
        finally:
            await connection.disconnect(nowait=True)

    def _take(self, owners: list[Node | None]) -> None:
        if owners != self._owners:
            self._owners = owners
            for changed in self._listeners:
                changed()


def _at(address: Address, node: Node | None) -> Address:
    options = dict(address.options)
    if node is not None:
        options |= {"host": node[0], "port": node[1]}
    return Address(connection=address.connection, options=options)


def _read_slots(reply: Any, asked: Node) -> list[Node | None]:  # noqa: ANN401 - Redis's
    owners: list[Node | None] = [None] * SLOTS
    for first, last, (host, port, *_), *_ in reply:
        # A server that does not know its own address says none.
        node = (host.decode() if host else asked[0], int(port))
        owners[first : last + 1] = [node] * (last + 1 - first)
    return owners


class _Links:
    """The links of a cluster as one: see Link."""

    def __init__(self, cluster: ClusterMap) -> None:
        self.servers: dict[Node, Commands] = {}
        self._cluster = cluster
        self._tasks: dict[Node, asyncio.Task[None]] = {}
        self._earlier = 0

    @property
    def connected(self) -> bool:
        """Whether every server with slots can be asked."""
        return bool(self.servers) and all(server.link.connected for server in self.servers.values())

    @property
    def reconnects(self) -> int:
        """How often a connection was made again, to any of them."""
        return self._earlier + sum(server.link.reconnects for server in self.servers.values())

    def add(self, node: Node, server: Commands) -> None:
        self.servers[node] = server
        self._tasks[node] = asyncio.get_running_loop().create_task(server.link.run())

    def remove(self, node: Node) -> Commands:
        server = self.servers.pop(node)
        self._earlier += server.link.reconnects
        self._tasks.pop(node).cancel()
        return server

    async def run(self) -> None:
        """Keep the map, and a connection to every server in it, until cancelled."""
        try:
            await self._cluster.run()
        finally:
            tasks = list(self._tasks.values())
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)


class ClusterCommands(Requests):
    """Sends each request to the server that has its slot, over one connection to each.

    Requests about one channel, whose names are in one slot, are executed in the order of calls
    while the slot does not move. What a server refuses because it has not got the slot was not
    executed, and goes to the one that has.

    Args:
        cluster: Who has what; it runs while the link does.
        timing: How patient it is.
        jitter: See Link.
        scripts: Those that will be called.
    """

    one_order = False
    link: _Links

    def __init__(
        self,
        cluster: ClusterMap,
        *,
        timing: Timing,
        jitter: Callable[[], float] = random.random,
        scripts: tuple[Script, ...] = (),
    ) -> None:
        self.link = _Links(cluster)
        self.durations = {}
        self._cluster = cluster
        self._timing = timing
        self._jitter = jitter
        self._scripts = scripts
        self._on_connected: list[Callable[[], None]] = []
        cluster.settled = lambda: self.link.connected
        cluster.listen(self._changed)

    @override
    def share(self, scripts: tuple[Script, ...], connected: Callable[[], None]) -> None:
        self._scripts += scripts
        self._on_connected.append(connected)

    @override
    def ask(self, *parts: bytes, name: bytes = b"") -> asyncio.Future[Any]:
        return self.request(*parts, name=name)

    @override
    def request(self, *parts: bytes, name: bytes = b"") -> asyncio.Future[Any]:
        if parts[0] == b"SCRIPT":
            return self._request_all(parts)
        loop = asyncio.get_running_loop()
        answer: asyncio.Future[Any] = loop.create_future()
        owner = self._cluster.owner(parts[_KEY_AT.get(parts[0], _FIRST)])
        self._send(_Sent(answer, parts, name, loop.time() + self._timing.reply), owner)
        return answer

    @override
    def close(self) -> None:
        for server in self.link.servers.values():
            server.close()

    def _request_all(self, parts: tuple[bytes, ...]) -> asyncio.Future[Any]:
        asked = [server.request(*parts) for server in self.link.servers.values()]
        return asyncio.gather(*asked)

    def _send(self, sent: _Sent, node: Node | None, *, asking: bool = False) -> None:
        """Send a request to a server.

        Raises:
            BrokerUnavailable: It cannot be asked now.
        """
        server = None if node is None else self.link.servers.get(node)
        if server is None:
            raise BrokerUnavailable("no connection to the server of the slot")
        if asking:
            server.request(b"ASKING").add_done_callback(_retrieve)
        server.request(*sent.parts, name=sent.name).add_done_callback(partial(self._reply, sent))

    def _reply(self, sent: _Sent, future: asyncio.Future[Any]) -> None:
        error = future.exception()
        if sent.answer.done():
            return
        if error is None:
            sent.answer.set_result(future.result())
        elif isinstance(error.__cause__, _REDIRECTIONS) and not sent.late():
            self._redirect(sent, error.__cause__)
        else:
            sent.answer.set_exception(error)

    def _redirect(self, sent: _Sent, refusal: Exception) -> None:
        target: Node | None = None
        asking = False
        if isinstance(refusal, AskError):
            target = (str(refusal.host), int(refusal.port))
            asking = not isinstance(refusal, MovedError)
        if isinstance(refusal, MovedError):
            self._cluster.moved(refusal)
        server = None if target is None else self.link.servers.get(target)
        if server is None or not server.link.connected:
            # In a while there may be a connection, or all keys in one place.
            asyncio.get_running_loop().call_later(_AGAIN_SECONDS, self._send_again, sent)
            return
        self._send_or_fail(sent, target, asking=asking)

    def _send_again(self, sent: _Sent) -> None:
        if not sent.answer.done():
            owner = self._cluster.owner(sent.parts[_KEY_AT.get(sent.parts[0], _FIRST)])
            server = None if owner is None else self.link.servers.get(owner)
            if (server is None or not server.link.connected) and not sent.late():
                asyncio.get_running_loop().call_later(_AGAIN_SECONDS, self._send_again, sent)
            else:
                self._send_or_fail(sent, owner)

    def _send_or_fail(self, sent: _Sent, node: Node | None, *, asking: bool = False) -> None:
        try:
            self._send(sent, node, asking=asking)
        except BrokerUnavailable as error:
            sent.answer.set_exception(error)

    # What the map says

    def _changed(self) -> None:
        wanted = self._cluster.nodes()
        for node in wanted - self.link.servers.keys():
            self.link.add(node, self._make(node))
        for node in self.link.servers.keys() - wanted:
            server = self.link.remove(node)
            server.close()
            if not server.link.connected:
                # What was not said because it was away is for another one now.
                self._tell()

    def _make(self, node: Node) -> Commands:
        server = Commands(
            self._cluster.endpoint(node),
            timing=self._timing,
            jitter=self._jitter,
            scripts=self._scripts,
            durations=self.durations,
        )
        server.share((), self._tell)
        return server

    def _tell(self) -> None:
        for connected in self._on_connected:
            connected()


class _Sent:
    """A request until it is answered."""

    __slots__ = ("_until", "answer", "name", "parts")

    def __init__(
        self, answer: asyncio.Future[Any], parts: tuple[bytes, ...], name: bytes, until: float
    ) -> None:
        self.answer = answer
        self.parts = parts
        self.name = name
        self._until = until

    def late(self) -> bool:
        return self.answer.get_loop().time() >= self._until


def _retrieve(future: asyncio.Future[Any]) -> None:
    # Its failure shows in what comes after it.
    if not future.cancelled():
        future.exception()
