"""How much a server works, and how long its clients wait: figures of the kernel, not of a clock.

CPU is user and system time of the server's process and its threads, from ``/proc``; divided by the
number of requests it tells what one costs, however busy the machine is with other things.
"""

from __future__ import annotations

import asyncio
import json
import os
import time
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

_TICKS = os.sysconf("SC_CLK_TCK")
# So many calls took a millisecond at best, on the machine of docs/performance.md.
_PIECE = 500
_PAGE_BYTES = os.sysconf("SC_PAGE_SIZE")


def cpu_seconds(pid: int) -> float:
    """Return the CPU time a process has used."""
    fields = Path(f"/proc/{pid}/stat").read_text("utf-8").rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / _TICKS


def rss_bytes(pid: int) -> int:
    """Return the memory a process has in use."""
    return int(Path(f"/proc/{pid}/statm").read_text("ascii").split()[1]) * _PAGE_BYTES


def quantile(values: Sequence[float], share: float) -> float:
    """Return the value below which this share of all lies (nearest rank)."""
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(share * len(ordered)))]


def machine_milliseconds() -> float:
    """Return the CPU time of a fixed piece of Python, which says how fast the machine is now."""
    text = '{"a": [1, 2, 3], "b": {"c": "text"}}'
    begin = time.process_time()
    for _ in range(_PIECE * 100):
        json.loads(text)
    return (time.process_time() - begin) * 10


@dataclass(slots=True)
class Answers:
    """What came back.

    Args:
        seconds: How long each answer took, by status.
    """

    seconds: dict[int, list[float]] = field(default_factory=dict)

    def add(self, status: int, seconds: float) -> None:
        """Note one answer."""
        self.seconds.setdefault(status, []).append(seconds)

    @property
    def counts(self) -> dict[int, int]:
        """How often each status came."""
        return {status: len(times) for status, times in sorted(self.seconds.items())}

    @property
    def all(self) -> list[float]:
        """The time of every answer."""
        return [value for times in self.seconds.values() for value in times]


class Connection:
    """One HTTP/1.1 connection that is kept alive; a client so thin that it takes little CPU."""

    def __init__(self, port: int) -> None:
        self._port = port
        self._reader: asyncio.StreamReader | None = None
        self._writer: asyncio.StreamWriter | None = None

    async def ask(self, request: bytes) -> tuple[int, bytes]:
        """Send one request; returns status and body."""
        if self._reader is None or self._writer is None:
            self._reader, self._writer = await asyncio.open_connection("127.0.0.1", self._port)
        self._writer.write(request)
        head = await self._reader.readuntil(b"\r\n\r\n")
        lines = head.split(b"\r\n")
        headers = dict(line.lower().split(b": ", 1) for line in lines[1:] if b": " in line)
        body = await self._reader.readexactly(int(headers.get(b"content-length", b"0")))
        if headers.get(b"connection") == b"close":
            self.close()
        return int(lines[0].split(b" ")[1]), body

    def close(self) -> None:
        """End."""
        if self._writer is not None:
            self._writer.close()
        self._reader = self._writer = None


def post(path: str, form: str, *headers: str) -> bytes:
    """Write a form as a request."""
    lines = [
        f"POST {path} HTTP/1.1",
        "Host: auth",
        "Content-Type: application/x-www-form-urlencoded",
        f"Content-Length: {len(form)}",
        *headers,
    ]
    return ("\r\n".join(lines) + "\r\n\r\n" + form).encode()


def get(path: str) -> bytes:
    """Write a request without a body."""
    return f"GET {path} HTTP/1.1\r\nHost: auth\r\n\r\n".encode()


async def cost(
    pid: int, count: int, parallel: int, one: Callable[[int], Awaitable[int]]
) -> tuple[float, Answers]:
    """Do something ``count`` times, ``parallel`` at once; returns CPU seconds of each, and answers.

    Args:
        pid: Whose CPU counts.
        count: How often.
        parallel: At once; ``one`` is told which of these it is.
        one: Does it once; returns the status.
    """
    answers = Answers()
    left = iter(range(count))

    async def worker(number: int) -> None:
        for _ in left:
            begin = time.perf_counter()
            status = await one(number)
            answers.add(status, time.perf_counter() - begin)

    before = cpu_seconds(pid)
    await asyncio.gather(*(worker(number) for number in range(parallel)))
    return (cpu_seconds(pid) - before) / count, answers
