"""Sends one request over many connections at once, from a process of its own.

    python -m tests.benchmarks.flood PORT COUNT

The request is a JSON string on standard input. What came of it goes to standard output: status →
seconds of each answer. It is no part of the process that measures what others wait for: opening a
thousand connections would keep that one from reading its answers.
"""

from __future__ import annotations

import asyncio
import json
import sys
import time

import uvloop

from tests.benchmarks.measure import Answers, Connection


async def flood(port: int, count: int, request: bytes) -> Answers:
    """Send a request as often at once; returns what came back."""
    answers = Answers()

    async def one() -> None:
        connection = Connection(port)
        begin = time.perf_counter()
        status, _ = await connection.ask(request)
        answers.add(status, time.perf_counter() - begin)
        connection.close()

    await asyncio.gather(*(one() for _ in range(count)))
    return answers


async def from_outside(port: int, count: int, request: bytes) -> Answers:
    """Do the same in a process of its own, which is awaited."""
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        __name__,
        str(port),
        str(count),
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
    )
    output, _ = await process.communicate(json.dumps(request.decode()).encode())
    assert process.returncode == 0
    return Answers({int(status): times for status, times in json.loads(output).items()})


def main() -> None:
    """Do as standard input says."""
    port, count = map(int, sys.argv[1:])
    request = str(json.load(sys.stdin)).encode()
    sys.stdout.write(json.dumps(uvloop.run(flood(port, count, request)).seconds))


if __name__ == "__main__":
    main()
