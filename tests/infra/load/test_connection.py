"""The sockets of locust's users against a gateway that misbehaves as it is told.

They run where ``make load`` runs them, in locust's own processes and environment.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import ssl
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from websockets.asyncio.server import Server, ServerConnection, serve
from websockets.exceptions import ConnectionClosed

from infra.embedded import certificate
from infra.embedded.local_directory import LocalDirectory
from infra.load import __main__ as entry
from infra.load.result import Result
from infra.load.settings import Plan

pytestmark = pytest.mark.integration

Push = dict[str, Any]


class Gateway:
    """A gateway with one fault, which befalls the third message that anybody would receive.

    Args:
        fault: ``none``, ``drop``, ``twice``, ``swap``, ``silent`` (no reply to one publication) or
            ``cut`` (one connection is closed by the server).
    """

    def __init__(self, fault: str) -> None:
        self.fault = fault
        self.tokens: list[str] = []
        self.pongs = 0
        self.codes: list[int | None] = []
        self._members: dict[str, list[ServerConnection]] = {}
        self._sent = 0
        self._held: list[str] = []
        self._farewell: asyncio.Task[None] | None = None

    async def serve(self, connection: ServerConnection) -> None:
        """Serve one socket to its end."""
        request = connection.request
        assert request is not None
        self.tokens.append(request.headers["Authorization"].removeprefix("Bearer "))
        with contextlib.suppress(ConnectionClosed):
            async for text in connection:
                for line in str(text).splitlines():
                    await self._answer(connection, json.loads(line))
        self.codes.append(connection.close_code)
        for members in self._members.values():
            members[:] = [member for member in members if member is not connection]

    async def _answer(self, connection: ServerConnection, command: dict[str, Any]) -> None:
        match command:
            case {"id": number, "connect": {}}:
                # Two lines in one message, the second a ping.
                await connection.send(f'{{"id":{number},"connect":{{"node":"fake"}}}}\n{{}}')
            case {"id": number, "subscribe": {"channel": channel}}:
                self._members.setdefault(channel, []).append(connection)
                await connection.send(json.dumps({"id": number, "subscribe": {}}))
            case {"id": number, "publish": {"channel": channel, "data": data}}:
                push = json.dumps({"push": {"channel": channel, "pub": {"data": data}}})
                for member in self._members[channel]:
                    await self._deliver(member, push)
                if not (self.fault == "silent" and self._sent == 3):
                    await connection.send(json.dumps({"id": number, "publish": {}}))
            case {}:
                self.pongs += 1

    async def _deliver(self, member: ServerConnection, push: str) -> None:
        self._sent += 1
        third = self._sent == 3
        if self.fault == "drop" and third:
            return
        if self.fault == "swap" and (third or self._held):
            self._held.insert(0, push)
            if len(self._held) == 2:
                await member.send("\n".join(self._held))
                self._held.clear()
                self.fault = "none"
            return
        await member.send(push)
        if self.fault == "twice" and third:
            await member.send(push)
        if self.fault == "cut" and third:
            self._farewell = asyncio.create_task(member.close(3001, "going away"))


@contextlib.asynccontextmanager
async def served(gateway: Gateway, local: LocalDirectory) -> AsyncIterator[Server]:
    """Serve it over TLS."""
    certificate.ensure(local)
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(local.path(certificate.SERVER), local.path(certificate.KEY))
    async with serve(gateway.serve, "127.0.0.1", 0, ssl=context) as server:
        yield server


async def load(gateway: Gateway, directory: Path, monkeypatch: pytest.MonkeyPatch) -> int:
    """Let one user alone in a room speak for three seconds; returns locust's status."""
    assert entry.LOCUST.exists(), "make test makes the environment of the load test"
    local = LocalDirectory(str(directory / "local"))
    local.make()
    monkeypatch.setattr(entry, "REPORTS", directory)
    async with served(gateway, local) as server:
        port = server.sockets[0].getsockname()[1]
        plan = Plan(
            users=1,
            rate=1,
            seconds=4,
            every=0.3,
            workers=1,
            host=f"wss://127.0.0.1:{port}",
            settle=1,
            report=2,
        )
        file = directory / "job.json"
        file.write_bytes(entry.job(plan, local.path(certificate.CA), ["one", "two"]))
        return await asyncio.to_thread(entry.locust, plan, os.environ, file)


@pytest.mark.parametrize(
    ("fault", "failure"),
    [
        ("none", None),
        ("drop", "lost: in room:"),
        ("twice", "order: came twice in room:"),
        ("swap", "order: out of order in room:"),
        ("silent", "publish: no answer"),
        ("cut", "closed: 3001 going away"),
    ],
)
async def test_every_fault_of_a_gateway_is_found(
    fault: str, failure: str | None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In the result, in locust's report and in its status."""
    gateway = Gateway(fault)

    status = await load(gateway, tmp_path, monkeypatch)

    result = Result.load((tmp_path / "result-0.json").read_text("utf-8"))
    assert (status, result.started, result.settled) == (1 if failure else 0, 1, 1)
    assert result.published > 5
    assert result.owed > 4
    assert set(gateway.tokens) == {"one"}
    assert gateway.pongs == len(gateway.tokens)
    assert gateway.codes[-1] == 1000
    found = [text for text in result.failures if text.startswith(failure or "")]
    assert result.failures.total() == len(found) == (1 if failure else 0)
    assert result.lost.total() == (fault == "drop")
    rows = (tmp_path / "load_failures.csv").read_text("utf-8").splitlines()
    assert len(rows) == (2 if failure else 1)
