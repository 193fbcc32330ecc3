"""What the processes of a crowd have in common: their orders, their reports, an even pace."""

from __future__ import annotations

import asyncio
import itertools
import json
import sys
from collections.abc import AsyncIterator, Callable, Mapping


async def orders() -> asyncio.StreamReader:
    """Open the standard input: a plan as one line, and lines that let the process go on."""
    reader = asyncio.StreamReader(limit=2**26)
    await asyncio.get_running_loop().connect_read_pipe(
        lambda: asyncio.StreamReaderProtocol(reader), sys.stdin
    )
    return reader


def say(report: Mapping[str, object]) -> None:
    """Say something, as a line of JSON."""
    sys.stdout.write(json.dumps(report) + "\n")
    sys.stdout.flush()


async def repeat(every: float, report: Callable[[], None]) -> None:
    """Report again and again.

    Args:
        every: Seconds between two reports.
        report: Says what there is to say.
    """
    while True:
        await asyncio.sleep(every)
        report()


async def paced(seconds: float) -> AsyncIterator[int]:
    """Count from 0 for ever, each number when it is due, however late the one before was.

    Args:
        seconds: Between two numbers.
    """
    loop = asyncio.get_running_loop()
    began = loop.time()
    for number in itertools.count():
        await asyncio.sleep(max(0.0, began + number * seconds - loop.time()))
        yield number
