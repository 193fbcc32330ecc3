"""The way to a revocation log that its issuer keeps in a Redis stream.

The stream's first entry, ``0-1``, names the log; each further one is a revocation. A stream without
that first entry has lost what it held, and is not believed until the issuer has written it anew.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any, TypeAlias

import hiredis
from redis.asyncio.connection import AbstractConnection
from redis.exceptions import RedisError

from ws_gateway.exceptions import LogUnreadable
from ws_gateway.redis_endpoint import Endpoint
from ws_gateway.revocations.deny_set import Revocation, parse
from ws_gateway.revocations.log import RevocationLog

KEY = b"drawbridge:1:revocations"
PAGE = 500
"""Entries read at once."""

_PAGE = b"%d" % PAGE
_BLOCK_MILLISECONDS = 400
_CONNECT_SECONDS = 1.0
_REPLY_SECONDS = 1.5  # beside what it was asked to wait

_Id: TypeAlias = tuple[int, int]
_FIRST: _Id = (0, 1)
_Entry: TypeAlias = tuple[_Id, Revocation | None]


class StreamReader:
    """Reads the stream once from its beginning, and then what is added.

    At least twice a second it looks at both ends of the stream: where the log is another, or ends
    before what was read already, everything is read again.

    Args:
        endpoint: Where Redis is.
        key: Of the stream.
    """

    def __init__(self, endpoint: Endpoint, *, key: bytes = KEY) -> None:
        self._endpoint = endpoint
        self._key = key
        self._log_id: bytes | None = None
        # The last entry that was read; None to read everything.
        self._position: _Id | None = None

    async def follow(self, log: RevocationLog) -> None:
        """See Reader."""
        connection = self._endpoint.connection()
        try:
            async with asyncio.timeout(_CONNECT_SECONDS):
                await connection.connect()  # type: ignore[no-untyped-call]
            while True:
                if self._position is None:
                    self._position = await self._read_all(connection, log)
                await self._read_on(connection, log, self._position)
        except (RedisError, OSError, TimeoutError) as error:
            raise LogUnreadable(f"{type(error).__name__}: {error}") from error
        finally:
            await connection.disconnect(nowait=True)

    async def _read_all(self, connection: AbstractConnection, log: RevocationLog) -> _Id:
        """Read everything that is there; returns the last id."""
        last, start = _FIRST, b"-"
        self._log_id = None
        while True:
            reply = await _ask(connection, b"XRANGE", self._key, start, b"+", b"COUNT", _PAGE)
            if self._log_id is None:
                self._log_id = _read_log_id(reply)
                if self._log_id is None:
                    raise LogUnreadable("the stream is incomplete")
                entries = _read_entries(reply[1:])
            else:
                entries = _read_entries(reply)
            log.add(revocation for _, revocation in entries)
            if entries:
                last = entries[-1][0]
            if len(reply) < PAGE:
                return last
            start = b"(%d-%d" % last

    async def _read_on(
        self, connection: AbstractConnection, log: RevocationLog, position: _Id
    ) -> None:
        """Look whether it is the same log, and wait a moment for what is added."""
        now = log.now()
        first = await _ask(connection, b"XRANGE", self._key, b"-", b"+", b"COUNT", b"1")
        last = await _ask(connection, b"XREVRANGE", self._key, b"+", b"-", b"COUNT", b"1")
        log_id, top = _read_log_id(first), _read_id(last[0]) if last else (0, 0)
        if log_id is None or log_id != self._log_id or top < position:
            self._position = None
            reason = "is incomplete" if log_id is None else "was replaced or has lost its end"
            log.lost(f"the stream {reason}", complete=False)
            return
        if position == top:
            log.read(now)
        reply = await _ask(
            connection,
            *(b"XREAD", b"COUNT", _PAGE, b"BLOCK", b"%d" % _BLOCK_MILLISECONDS),
            *(b"STREAMS", self._key, b"%d-%d" % position),
        )
        if not reply:
            return
        entries = _read_entries(reply[0][1])
        log.add(revocation for _, revocation in entries)
        self._position = entries[-1][0]
        if self._position >= top:
            log.read(now)


async def _ask(connection: AbstractConnection, *command: bytes) -> Any:  # noqa: ANN401 - Redis's
    packed = hiredis.pack_command(command)  # type: ignore[arg-type]  # its stub says one-tuples
    async with asyncio.timeout(_REPLY_SECONDS + _BLOCK_MILLISECONDS / 1000):
        await connection.send_packed_command(packed, check_health=False)
        return await connection.read_response()


def _read_id(entry: Sequence[Any]) -> _Id:
    number, _, part = bytes(entry[0]).partition(b"-")
    return int(number), int(part)


def _read_log_id(entries: Sequence[Any]) -> bytes | None:
    """Return the log's name, which is in the first entry of a complete stream."""
    if not entries or _read_id(entries[0]) != _FIRST:
        return None
    fields = _read_fields(entries[0])
    if fields.get(b"kind") != b"log":
        return None
    return fields.get(b"value") or None


def _read_fields(entry: Sequence[Any]) -> dict[bytes, bytes]:
    fields = entry[1] or ()
    return dict(zip(fields[::2], fields[1::2], strict=True))


def _read_entries(reply: Sequence[Any]) -> list[_Entry]:
    return [(_read_id(entry), _read_revocation(entry)) for entry in reply]


def _read_revocation(entry: Sequence[Any]) -> Revocation | None:
    try:
        fields = {name.decode(): value.decode() for name, value in _read_fields(entry).items()}
    except UnicodeDecodeError:
        return None
    return parse(fields, texts=True)
