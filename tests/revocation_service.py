"""An issuer that answers questions about its revocations, as the contract says."""

from __future__ import annotations

import asyncio
import json
from typing import Any
from urllib.parse import parse_qs, urlsplit

KEY = "k" * 32
PAGE = 3
_OK = 200


class Service:
    """The issuer's end: entries by number, and answers that wait for them.

    Attributes:
        log: The log's id.
        top: Its highest number.
        entries: What it has not left out.
        questions: What was asked.
        status: To answer with.
        raw: To answer instead of the truth.
        mute: Answer nothing.
        port: Where it listens.
    """

    def __init__(self) -> None:
        self.log = "one"
        self.top = 0
        self.entries: dict[int, dict[str, Any]] = {}
        self.questions: list[dict[str, str]] = []
        self.raw: bytes | None = None
        self.status = 200
        self.mute = False
        self._changed = asyncio.Condition()
        self._server: asyncio.Server | None = None
        self._serving: set[asyncio.Task[None]] = set()
        self.port = 0

    async def start(self) -> None:
        """Listen, on the port it had before."""
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", self.port)
        self.port = self._server.sockets[0].getsockname()[1]

    async def stop(self) -> None:
        """Cut everything."""
        assert self._server is not None
        self._server.close()
        for task in self._serving:
            task.cancel()
        await asyncio.gather(*self._serving)

    async def add(self, number: int, **fields: Any) -> None:  # noqa: ANN401
        """Write an entry, and wake who waits."""
        self.entries[number] = {
            "seq": number,
            "kind": "sid",
            "value": "s",
            "sub": "",
            "before": 0,
            "until": 2_000_000_000,
            "reason": "logout",
        } | fields
        self.top = max(self.top, number)
        await self.wake()

    async def replace(self, log: str) -> None:
        """Become another log, which is empty."""
        self.log, self.top, self.entries = log, 0, {}
        await self.wake()

    async def wake(self) -> None:
        """Let answers look again."""
        async with self._changed:
            self._changed.notify_all()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._serving.add(task)
        try:
            while True:
                head = (await reader.readuntil(b"\r\n\r\n")).decode().split("\r\n")
                status, body = await self._answer(head)
                length = len(body)
                writer.write(
                    f"HTTP/1.1 {status} x\r\nContent-Length: {length}\r\n\r\n".encode() + body
                )
                await writer.drain()
        except (OSError, asyncio.IncompleteReadError, asyncio.CancelledError):
            pass
        finally:
            self._serving.discard(task)
            writer.transport.abort()

    async def _answer(self, head: list[str]) -> tuple[int, bytes]:
        url = urlsplit(head[0].split(" ")[1])
        question = {name: value[0] for name, value in parse_qs(url.query).items()}
        self.questions.append(question)
        if f"authorization: bearer {KEY}" not in [line.lower() for line in head[1:]]:
            return 401, b"{}"
        if self.mute:
            await asyncio.Event().wait()
        if self.raw is not None or self.status != _OK:
            return self.status, self.raw or b""
        since, known = int(question["since"]), question.get("log", self.log)
        with_wait = asyncio.timeout(float(question["wait"]))
        try:
            async with with_wait, self._changed:
                await self._changed.wait_for(
                    lambda: known != self.log or since > self.top or self._after(since)
                )
        except TimeoutError:
            pass
        if known != self.log or since > self.top:
            since = 0
        answer = {"log": self.log, "top": self.top, "entries": self._after(since)[:PAGE]}
        return 200, json.dumps(answer).encode()

    def _after(self, since: int) -> list[dict[str, Any]]:
        return [self.entries[number] for number in sorted(self.entries) if number > since]
