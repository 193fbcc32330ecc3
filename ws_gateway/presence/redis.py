"""Presence of several processes: what each says is kept in Redis.

A channel has three hashes: its entries, and how many of them each user and each *node* has. A
node is a process for as long as it has one connection to Redis: an entry counts while its node
gives signs of life, one for all its entries. So nobody refreshes entries; who reads finds those of
dead nodes out, and takes them away.

A new connection is a new node, which says everything again: the server may be another one, which
lacks what was said last.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import secrets
import time
from collections import Counter
from collections.abc import Callable, Mapping
from functools import partial
from importlib import resources
from itertools import islice
from typing import Any

import msgspec
from msgspec import Raw

from ws_gateway.exceptions import BrokerUnavailable
from ws_gateway.presence.base import Stats
from ws_gateway.protocol.messages import ABSENT, ClientInfo
from ws_gateway.redis_commands import Requests, Script, ScriptUnknown
from ws_gateway.redis_keys import slot_tag

logger = logging.getLogger(__name__)

PREFIX = b"drawbridge:1:presence:"
"""Of every key; the 1 is the version of names and values."""

_NODES = PREFIX + b"nodes"
_SEEN = PREFIX + b"seen"
_NODE_BYTES = 16
_USER_AT = _NODE_BYTES + 4
_BATCH = 500  # entries on their way at once: some milliseconds of Redis's time
_READ_ATTEMPTS = 3
_RETRY_SECONDS = 1.0
_BEATS = 3  # signs of life within the time for which one is good
_KEPT = 60  # the times that a channel's keys outlive a sign of life
_ROUNDS = 3  # how often a channel's entries are said again within that
_MAX_GONE = 100_000


def _script(name: str) -> Script:
    source = resources.files("ws_gateway.presence").joinpath(f"lua/{name}").read_text("utf-8")
    return Script(source, f"presence_{name.removesuffix('.lua')}")


_UPDATE, _READ, _PURGE, _BEAT = map(_script, ("update.lua", "read.lua", "purge.lua", "beat.lua"))

_encode = msgspec.msgpack.Encoder().encode
_decode = msgspec.msgpack.Decoder(tuple[bytes, bytes]).decode


class RedisPresence:
    """Says to Redis who is here, in batches, and asks it who is elsewhere.

    Args:
        commands: The connection; the broker's, so that who has been told of a joining, which is
            published over the same, finds it in presence too.
        ttl: For how many seconds a sign of life is good.
        users: How many users' last connection is remembered; 0 for nobody's.
        clock: Unix time in seconds.
    """

    def __init__(
        self,
        commands: Requests,
        *,
        ttl: float = 60,
        users: int = 0,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._commands = commands
        self._ttl = ttl
        self._max_seen = users
        self._clock = clock
        self._entries: dict[str, dict[str, ClientInfo]] = {}
        self._count = 0
        self._node = _new_node()
        self._begun = False  # it has given its first sign
        self._former: list[bytes] = []  # nodes that this process was
        # What Redis is to be told, by channel; a dictionary, for its order.
        self._untold: dict[str, dict[str, None]] = {}
        self._gone = 0
        self._round: list[str] = []
        self._connected: Counter[str] = Counter()
        self._unsaved: dict[str, float] = {}
        self._beat_at = 0.0
        self._wake = asyncio.Event()
        self._task: asyncio.Task[None] | None = None
        commands.share((_UPDATE, _READ, _PURGE, _BEAT), self._begin_anew)

    async def start(self) -> None:
        """See Presence."""
        self._task = asyncio.create_task(self._run())

    async def stop(self) -> None:
        """See Presence."""
        if self._task is not None:
            self._task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._task
            self._task = None
        with contextlib.suppress(BrokerUnavailable):
            while self._untold or self._unsaved:
                await self._tell()
            await self._commands.request(b"ZREM", _NODES, self._node, *self._former)

    def __len__(self) -> int:
        """See Presence."""
        return self._count

    def add(self, channel: str, info: ClientInfo) -> None:
        """See Presence."""
        entries = self._entries.setdefault(channel, {})
        self._count += info.client not in entries
        entries[info.client] = info
        self._mark(channel, info.client)

    def remove(self, channel: str, client: str) -> None:
        """See Presence."""
        entries = self._entries.get(channel, {})
        if entries.pop(client, None) is None:
            return
        self._count -= 1
        if not entries:
            del self._entries[channel]
        self._gone += 1
        if self._gone > _MAX_GONE:
            # Redis takes nothing. Everything of this node will vanish; so nothing is to be told.
            self._begin_anew()
        else:
            self._mark(channel, client)

    def hand_over(self, channel: str) -> None:
        """See Presence."""
        if not self._may_tell:
            return
        clients = self._untold.pop(channel, None)
        if not clients:
            return
        try:
            for some in _chunks(list(clients)):
                _ = self._send(channel, some)
        except BrokerUnavailable:
            self._untold[channel] = clients

    async def members(self, channel: str, limit: int) -> Mapping[str, ClientInfo] | None:
        """See Presence."""
        _, _, _, flat = await self._read(channel, limit)
        if flat is None:
            return None
        values = dict(zip(flat[::2], flat[1::2], strict=True))
        members = {}
        for client, value in values.items():
            # What somebody else has written there is nobody's entry.
            with contextlib.suppress(ValueError):
                info = _read_value(client, value)
                members[info.client] = info
        return members

    async def stats(self, channel: str) -> Stats:
        """See Presence."""
        clients, users, _, _ = await self._read(channel, 0)
        return Stats(clients, users)

    def arrive(self, user: str) -> None:
        """See Presence."""
        if not self._max_seen:
            return
        self._connected[user] += 1
        if self._connected[user] == 1:
            self._save(user, self._clock() + self._ttl)

    def depart(self, user: str) -> None:
        """See Presence."""
        if not self._max_seen or not self._connected[user]:
            return
        self._connected[user] -= 1
        if not self._connected[user]:
            del self._connected[user]
            self._save(user, self._clock())

    async def last_seen(self, user: str) -> float | None:
        """See Presence."""
        now = self._clock()
        if user in self._connected:
            return now
        if user in self._unsaved:
            return min(now, self._unsaved[user])
        until = await self._commands.request(b"ZSCORE", _SEEN, user.encode())
        # Of who is connected, it is until when that is sure.
        return None if until is None else min(now, float(until))

    # What Redis is to be told

    @property
    def _may_tell(self) -> bool:
        # Entries that come before their node's first sign are a dead node's. In a cluster they
        # could overtake it: it is on another server.
        return self._begun or self._commands.one_order

    def _mark(self, channel: str, client: str) -> None:
        # Without a connection there is nothing to remember: everything is said on the next one.
        if self._commands.link.connected:
            self._untold.setdefault(channel, {})[client] = None
            self._wake.set()

    def _save(self, user: str, until: float) -> None:
        self._unsaved[user] = until
        if len(self._unsaved) > self._max_seen:
            del self._unsaved[next(iter(self._unsaved))]
        self._wake.set()

    def _begin_anew(self) -> None:
        """Become another node, and say everything again."""
        if self._begun:
            self._former = [*self._former[-_BATCH:], self._node]
        self._node = _new_node()
        self._begun = False
        self._gone = 0
        self._untold = {channel: dict.fromkeys(there) for channel, there in self._entries.items()}
        self._beat_at = 0.0
        self._wake.set()
        with contextlib.suppress(BrokerUnavailable):
            # At once: entries that come before their node's first sign are a dead node's.
            sign = (b"1", _NODES, self._node, b"%d" % (self._ttl * 1000), b"1")
            self._commands.request(b"EVALSHA", _BEAT.digest, *sign).add_done_callback(_retrieve)

    async def _run(self) -> None:
        loop = asyncio.get_running_loop()
        while True:
            if not self._wake.is_set():
                alarm = loop.call_at(self._beat_at, self._wake.set)
                try:
                    await self._wake.wait()
                finally:
                    alarm.cancel()
            self._wake.clear()
            try:
                if loop.time() >= self._beat_at:
                    await self._beat()
                while self._untold or self._unsaved:
                    if self._may_tell:
                        await self._tell()
                    else:
                        await self._beat()
                if self._former:
                    await self._commands.request(b"ZREM", _NODES, *self._former)
                    self._former.clear()
                continue
            except BrokerUnavailable:
                self._beat_at = min(self._beat_at, loop.time() + _RETRY_SECONDS)
            except Exception:
                # A fault of ours must not end the signs of life.
                logger.exception("presence failed")
                self._beat_at = loop.time() + _RETRY_SECONDS
            await asyncio.sleep(_RETRY_SECONDS)
            self._wake.set()

    async def _beat(self) -> None:
        node, begun = self._node, self._begun
        living = await self._living(node, first=not begun)
        if node != self._node:
            return  # another connection, another node
        if node not in living:
            self._begin_anew()
            return
        self._begun = True
        self._beat_at = asyncio.get_running_loop().time() + self._ttl / _BEATS
        self._unsaved |= dict.fromkeys(self._connected, self._clock() + self._ttl)
        if begun:
            self._say_some_again()

    def _say_some_again(self) -> None:
        """Say a part of the entries again, so that keys which are needed are kept."""
        if not self._round:
            self._round = list(self._entries)
        for _ in range(-(-len(self._entries) * _ROUNDS // (_BEATS * _KEPT))):
            if not self._round:
                return
            channel = self._round.pop()
            if channel in self._entries:
                self._untold.setdefault(channel, {}).update(dict.fromkeys(self._entries[channel]))

    async def _living(self, node: bytes, *, first: bool) -> set[bytes]:
        """Give a sign of life, unless ``node`` is empty; returns who has given one lately."""
        nodes: list[bytes] = await self._commands.call(
            _BEAT, (_NODES,), node, b"%d" % (self._ttl * 1000), b"1" if first else b"0"
        )
        return set(nodes)

    async def _tell(self) -> None:
        """Tell a batch, and wait until Redis has taken it: more would make others wait.

        Raises:
            BrokerUnavailable: It has not; what was not taken is told again.
        """
        waiting: list[asyncio.Future[Any]] = []
        room = _BATCH
        while self._untold and room:
            channel, clients = next(iter(self._untold.items()))
            some = list(islice(clients, room))
            room -= len(some)
            waiting.append(self._send(channel, some))
            for client in some:
                del clients[client]
            if not clients:
                del self._untold[channel]
        if self._unsaved and room:
            waiting.append(self._send_seen(list(islice(self._unsaved.items(), _BATCH))))
        await asyncio.wait(waiting)
        for future in waiting:
            future.result()

    def _send(self, channel: str, clients: list[str]) -> asyncio.Future[Any]:
        entries = self._entries.get(channel, {})
        pairs: list[bytes] = []
        for client in clients:
            info = entries.get(client)
            pairs += client.encode(), b"" if info is None else _write_value(self._node, info)
        future = self._commands.request(
            *(b"EVALSHA", _UPDATE.digest, b"3", *_keys(channel)),
            *(b"%d" % (self._ttl * _KEPT * 1000), *pairs),
        )
        future.add_done_callback(partial(self._sent, channel, clients))
        return future

    def _sent(self, channel: str, clients: list[str], future: asyncio.Future[Any]) -> None:
        if future.cancelled() or (error := future.exception()) is None:
            entries = self._entries.get(channel, {})
            self._gone = max(0, self._gone - sum(client not in entries for client in clients))
            return
        for client in clients:
            self._mark(channel, client)
        if isinstance(error, ScriptUnknown):
            with contextlib.suppress(BrokerUnavailable):
                load = self._commands.request(b"SCRIPT", b"LOAD", _UPDATE.source)
                load.add_done_callback(_retrieve)

    def _send_seen(self, some: list[tuple[str, float]]) -> asyncio.Future[Any]:
        saved = [part for user, until in some for part in (b"%.3f" % until, user.encode())]
        future = self._commands.request(b"ZADD", _SEEN, *saved)
        oldest = self._commands.request(
            b"ZREMRANGEBYRANK", _SEEN, b"0", b"%d" % -(self._max_seen + 1)
        )
        oldest.add_done_callback(_retrieve)
        for user, _ in some:
            del self._unsaved[user]
        future.add_done_callback(partial(self._sent_seen, some))
        return future

    def _sent_seen(self, some: list[tuple[str, float]], future: asyncio.Future[Any]) -> None:
        if not future.cancelled() and future.exception() is not None:
            self._unsaved = dict(some) | self._unsaved
            while len(self._unsaved) > self._max_seen:
                del self._unsaved[next(iter(self._unsaved))]

    # What others have said

    async def _read(self, channel: str, limit: int) -> Any:  # noqa: ANN401 - Redis's reply
        """Read a channel, without what dead nodes have said, and with what we have."""
        while channel in self._untold and not self._may_tell:
            await self._beat()
        self.hand_over(channel)
        reply = await self._commands.call(_READ, _keys(channel), b"%d" % limit)
        attempts = 1
        while attempts < _READ_ATTEMPTS and (dead := await self._dead(reply[2])):
            await self._purge(channel, dead)
            reply = await self._commands.call(_READ, _keys(channel), b"%d" % limit)
            attempts += 1
        return reply

    async def _purge(self, channel: str, dead: set[bytes]) -> None:
        cursor, keys, count = b"0", _keys(channel), b"%d" % _BATCH
        while True:
            cursor = await self._commands.call(_PURGE, keys, cursor, count, *dead)
            if cursor == b"0":
                return

    async def _dead(self, nodes: list[bytes]) -> set[bytes]:
        """Say which nodes are dead, of those that were found in a channel just now."""
        others = {node for node in nodes if node != self._node}
        # Asked afterwards: a node gives its first sign before it has an entry.
        return others and others - await self._living(b"", first=False)


def _new_node() -> bytes:
    return secrets.token_hex(_NODE_BYTES // 2).encode()


def _keys(channel: str) -> tuple[bytes, bytes, bytes]:
    """Name a channel's keys; what is in braces keeps them in one Cluster slot."""
    name = slot_tag(channel)
    return PREFIX + b"e:{%b}" % name, PREFIX + b"u:{%b}" % name, PREFIX + b"n:{%b}" % name


def _write_value(node: bytes, info: ClientInfo) -> bytes:
    user = info.user.encode()
    return b"%b%04x%b%b" % (
        node,
        len(user),
        user,
        _encode((bytes(info.conn_info), bytes(info.chan_info))),
    )


def _read_value(client: bytes, value: bytes) -> ClientInfo:
    """Read an entry.

    Raises:
        ValueError: It is none of ours.
    """
    rest = _USER_AT + int(value[_NODE_BYTES:_USER_AT], 16)
    conn_info, chan_info = _decode(value[rest:])
    return ClientInfo(
        user=value[_USER_AT:rest].decode(),
        client=client.decode(),
        # The very object: codecs leave out what is ABSENT, not what is empty.
        conn_info=Raw(conn_info) if conn_info else ABSENT,
        chan_info=Raw(chan_info) if chan_info else ABSENT,
    )


def _chunks(clients: list[str]) -> list[list[str]]:
    return [clients[start : start + _BATCH] for start in range(0, len(clients), _BATCH)]


def _retrieve(future: asyncio.Future[Any]) -> None:
    # Nobody waits for it, and a failure shows in what comes after.
    if not future.cancelled():
        future.exception()
