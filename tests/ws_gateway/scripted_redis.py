"""A Redis that says what the test tells it to, on a loop that does not wait."""

from __future__ import annotations

import asyncio
import functools
import selectors
from collections.abc import Callable, Coroutine
from typing import Any, ParamSpec, Self

import hiredis
from redis.asyncio.connection import AbstractConnection, Connection
from typing_extensions import override

from ws_gateway.redis_endpoint import Endpoint

Test = ParamSpec("Test")

_GREETING = [b"CLIENT", b"SETNAME", b"drawbridge-gateway"]
_GRACE = 0.01


class _Selector(selectors.SelectSelector):
    """Lets the clock jump to the next timer where nothing arrives; starts at 0.

    Attributes:
        idlers: Who is called before it does.
    """

    def __init__(self) -> None:
        super().__init__()
        self.now = 0.0
        self.idlers: list[Callable[[], object]] = []

    @override
    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        if timeout is None and not self.idlers:
            return super().select()
        # What was sent over the loopback is there at once, or after the kernel's moment.
        events = super().select(_GRACE if timeout is None else min(timeout, _GRACE))
        if events or timeout == 0:
            return events
        idlers, self.idlers = self.idlers, []
        for idler in idlers:
            idler()
        if not idlers:
            self.now += timeout or 0
        return events


class _SkippingLoop(asyncio.SelectorEventLoop):
    """Its clock stands still while there is something to do."""

    def __init__(self) -> None:
        self.clock = _Selector()
        super().__init__(self.clock)

    @override
    def time(self) -> float:
        return self.clock.now


def skips_time(test: Callable[Test, Coroutine[Any, Any, None]]) -> Callable[Test, None]:
    """Run a test on a loop whose time is exact, and passes only where all wait for it."""

    @functools.wraps(test)
    def run(*args: Test.args, **kwargs: Test.kwargs) -> None:
        with asyncio.Runner(loop_factory=_SkippingLoop) as runner:
            runner.run(test(*args, **kwargs))

    return run


async def idle() -> None:
    """Let everything happen that needs no time; for tests that skip it."""
    loop = asyncio.get_running_loop()
    assert isinstance(loop, _SkippingLoop)
    quiet = asyncio.Event()
    loop.clock.idlers.append(quiet.set)
    await quiet.wait()


def array(*parts: bytes | int) -> bytes:
    """Encode a list as Redis does."""
    encoded = (
        b":%d\r\n" % part if isinstance(part, int) else b"$%d\r\n%b\r\n" % (len(part), part)
        for part in parts
    )
    return b"*%d\r\n" % len(parts) + b"".join(encoded)


class Caller(asyncio.Protocol):
    """One connection, seen from the server.

    Attributes:
        requests: What was asked and not been :meth:`heard` yet, but for the greeting.
        gone: It has ended.
    """

    def __init__(self, server: ScriptedRedis) -> None:
        self.requests: asyncio.Queue[list[bytes]] = asyncio.Queue()
        self.gone = asyncio.Event()
        self._server = server
        self._reader = hiredis.Reader()

    async def heard(self) -> list[bytes]:
        """Take the next request."""
        return await self.requests.get()

    def say(self, *replies: bytes) -> None:
        """Send replies or messages, in one write."""
        self._transport.write(b"".join(replies))

    def cut(self) -> None:
        """Break it."""
        self._transport.abort()

    def hold(self, *, reading: bool) -> None:
        """Read no more, or read on."""
        if reading:
            self._transport.resume_reading()
        else:
            self._transport.pause_reading()

    @override
    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport
        self._server.attempts.append(asyncio.get_running_loop().time())
        self._server.open.add(self)
        if self._server.closed:
            self.cut()

    @override
    def data_received(self, data: bytes) -> None:
        self._reader.feed(data)
        while (request := self._reader.gets()) is not False:
            if request != _GREETING:
                self.requests.put_nowait(request)
            elif self._server.greets:
                self.say(b"+OK\r\n")
                self._server.callers.put_nowait(self)

    @override
    def connection_lost(self, exc: Exception | None) -> None:
        self.gone.set()
        self._server.open.discard(self)


class ScriptedRedis:
    """A server without a mind of its own, but that it lets callers in.

    Attributes:
        attempts: When connections were made, in loop time.
        callers: Who was let in and not been :meth:`called` by yet.
        closed: Cut connections at once.
        greets: Answer who comes in.
        open: The connections.
    """

    def __init__(self) -> None:
        self.attempts: list[float] = []
        self.callers: asyncio.Queue[Caller] = asyncio.Queue()
        self.closed = False
        self.greets = True
        self.open: set[Caller] = set()

    async def __aenter__(self) -> Self:
        loop = asyncio.get_running_loop()
        self._server = await loop.create_server(lambda: Caller(self), "127.0.0.1", 0)
        self.endpoint = Recorded(
            f"redis://127.0.0.1:{self._server.sockets[0].getsockname()[1]}",
        )
        return self

    async def __aexit__(self, *_: object) -> None:
        self._server.close()
        for caller in list(self.open):
            caller.cut()
            await caller.gone.wait()
        await self._server.wait_closed()

    async def called(self) -> Caller:
        """Take the next who was let in, and knows it."""
        caller = await self.callers.get()
        await idle()
        return caller


class Recorded(Endpoint):
    """An endpoint that knows its connections.

    Attributes:
        newest: The last one.
        writes: What was given to them, write by write.
    """

    def __init__(self, url: str) -> None:
        self.writes: list[bytes] = []
        super().__init__(url)

    @override
    def connection(self) -> AbstractConnection:
        self.newest = _RecordedConnection(self.writes, **self._options)
        return self.newest


class _RecordedConnection(Connection):
    def __init__(self, writes: list[bytes], **options: Any) -> None:  # noqa: ANN401
        super().__init__(**options)
        self._writes = writes

    @override
    async def connect(self) -> None:
        await super().connect()  # type: ignore[no-untyped-call]
        assert self._writer is not None
        transport = self._writer.transport
        write = transport.write

        def record(data: bytes | bytearray | memoryview) -> None:
            self._writes.append(bytes(data))
            write(data)

        transport.write = record  # type: ignore[method-assign]
