"""A TCP proxy between two parts, which can be a bad network."""

from __future__ import annotations

import asyncio
import contextlib
from enum import Enum

_CHUNK = 65_536
_SLOW_BYTES = 2_048
_SLOW_SECONDS = 0.02


class Weather(Enum):
    """What the network is like."""

    FAIR = "fair"
    CUT = "cut"
    """Connections are reset, and none is let in."""
    SILENT = "silent"
    """Nothing arrives, and nobody is told."""
    SLOW = "slow"
    """About 100 KB/s each way and connection, 20 ms late at least."""


class Proxy:
    """Forwards connections from a port of loopback to another.

    Args:
        port: Where to listen.
        target: Where to connect to.
    """

    def __init__(self, port: int, target: int) -> None:
        self.port = port
        self._target = target
        self._weather = Weather.FAIR
        self._fair = asyncio.Event()
        self._fair.set()
        self._server: asyncio.Server | None = None
        self._writers: set[asyncio.StreamWriter] = set()
        self._tasks: set[asyncio.Task[None]] = set()

    async def start(self) -> None:
        """Listen."""
        self._server = await asyncio.start_server(
            self._serve, "127.0.0.1", self.port, limit=_CHUNK, backlog=1024
        )

    async def close(self) -> None:
        """End, with all connections."""
        if self._server is not None:
            self._server.close()
        self.change(Weather.CUT)
        for task in list(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    def change(self, weather: Weather) -> None:
        """Make the network this."""
        self._weather = weather
        if weather is Weather.SILENT:
            self._fair.clear()
        else:
            self._fair.set()
        if weather is Weather.CUT:
            for writer in list(self._writers):
                writer.transport.abort()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        self._writers.add(writer)
        other: asyncio.StreamWriter | None = None
        try:
            if self._weather is Weather.CUT:
                return
            await self._fair.wait()
            with contextlib.suppress(OSError):
                source, other = await asyncio.open_connection("127.0.0.1", self._target)
                self._writers.add(other)
                await self._join(reader, writer, source, other)
        finally:
            # Whoever ends it: the other side is told at once.
            for each in (writer, other):
                if each is not None:
                    self._writers.discard(each)
                    each.transport.abort()

    async def _join(
        self,
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
        source: asyncio.StreamReader,
        other: asyncio.StreamWriter,
    ) -> None:
        ways = [
            asyncio.ensure_future(self._carry(reader, other)),
            asyncio.ensure_future(self._carry(source, writer)),
        ]
        try:
            await asyncio.wait(ways, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for way in ways:
                way.cancel()
            await asyncio.gather(*ways, return_exceptions=True)

    async def _carry(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(OSError):
            while data := await reader.read(
                _SLOW_BYTES if self._weather is Weather.SLOW else _CHUNK
            ):
                if self._weather is Weather.SLOW:
                    await asyncio.sleep(_SLOW_SECONDS)
                await self._fair.wait()
                writer.write(data)
                await writer.drain()
            # What was written before the end, a close frame for example, arrives.
            if not writer.is_closing() and writer.can_write_eof():
                writer.write_eof()
                await asyncio.sleep(0)
                await _flushed(writer)


async def _flushed(writer: asyncio.StreamWriter) -> None:
    """Wait a moment until all was handed to the system."""
    for _ in range(100):
        if not writer.transport.get_write_buffer_size():
            return
        await asyncio.sleep(0.01)
