"""Connections are taken a few at a time."""

from __future__ import annotations

import asyncio
import errno
import socket
from collections.abc import Iterator
from itertools import pairwise
from typing import Any

import pytest
from typing_extensions import override

from auth_service import listener
from auth_service.listener import AT_ONCE, Listener


class Served(asyncio.Protocol):
    """Writes to a list when it begins, and answers with what it gets."""

    def __init__(self, begun: list[str]) -> None:
        self._begun = begun

    @override
    def connection_made(self, transport: Any) -> None:
        self._begun.append("connection")
        self._transport = transport

    @override
    def data_received(self, data: bytes) -> None:
        self._transport.write(data)


@pytest.fixture
def listening() -> Iterator[socket.socket]:
    """A socket of loopback that listens."""
    with socket.create_server(("127.0.0.1", 0), backlog=128) as made:
        yield made


async def _echo(listening: socket.socket) -> bytes:
    reader, writer = await asyncio.open_connection(*listening.getsockname())
    writer.write(b"x")
    async with asyncio.timeout(30):
        answer = await reader.readexactly(1)
    writer.close()
    return answer


async def test_connections_are_served_until_it_is_closed(listening: socket.socket) -> None:
    """After that they wait in the kernel for somebody else."""
    begun: list[str] = []
    taking = Listener(listening, lambda: Served(begun))

    assert await _echo(listening) == b"x"
    taking.close()

    with socket.create_connection(listening.getsockname()):
        await asyncio.sleep(0.05)
    assert begun == ["connection"]


async def test_others_have_their_turn_between_connections(listening: socket.socket) -> None:
    """Among them those who have a connection already."""
    count = 5 * AT_ONCE
    callers = [socket.create_connection(listening.getsockname()) for _ in range(count)]
    begun: list[str] = []
    seen = [0]
    taking = Listener(listening, lambda: Served(begun))
    async with asyncio.timeout(30):
        while seen[-1] < count:
            await asyncio.sleep(0)
            seen.append(len(begun))
    taking.close()

    assert max(later - earlier for earlier, later in pairwise(seen)) <= AT_ONCE
    for caller in callers:
        caller.close()


async def test_it_goes_on_after_a_shortage(
    listening: socket.socket, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """Of file descriptors, say: it does not ask again at once, and does ask again."""

    class Short:
        """A socket of a process that has no file descriptor left, the first time."""

        asked = 0

        def accept(self) -> object:
            self.asked += 1
            if self.asked == 1:
                raise OSError(errno.EMFILE, "Too many open files")
            return listening.accept()

        def fileno(self) -> int:
            return listening.fileno()

        def setblocking(self, blocking: bool) -> None:
            listening.setblocking(blocking)

    monkeypatch.setattr(listener, "_PAUSE_SECONDS", 0.01)
    taking = Listener(Short(), lambda: Served([]))  # type: ignore[arg-type]

    assert await _echo(listening) == b"x"
    taking.close()
    assert [record.getMessage() for record in caplog.records] == ["accept_failed"]


async def test_it_can_be_closed_during_a_shortage(listening: socket.socket) -> None:
    """Nothing comes to life again afterwards."""
    taking = Listener(listening, lambda: Served([]))
    taking._pause = asyncio.get_running_loop().call_later(0.01, taking._resume)

    taking.close()

    await asyncio.sleep(0.05)
    assert not asyncio.get_running_loop().remove_reader(listening.fileno())
