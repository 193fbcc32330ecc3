"""How fast is it here: n clients in a room, one publishes, every delivery is timed.

Beside `make run`, from the top of the repository, with TOKEN as README.md in this folder says:

    .venv/bin/python docs/examples/benchmark.py --clients 100 --messages 200 --rate 50

The time of sending is in the message, and sender and receivers share one clock. They share one
Python process too, often the slower part: many clients measure the script, not the gateway.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
import os
import ssl
import statistics
import time

from websockets.asyncio.client import ClientConnection, connect

HOST = os.environ.get("DRAWBRIDGE", "localhost:8443")
CHANNEL = f"room:benchmark-{os.getpid()}"
PATIENCE_SECONDS = 10


async def join(socket: ClientConnection) -> None:
    """Subscribe, and wait until it is so."""
    await socket.send(json.dumps({"id": 1, "subscribe": {"channel": CHANNEL}}))
    reply = json.loads(await socket.recv())
    if "error" in reply:
        raise SystemExit(f"the gateway refuses: {reply['error']['message']}")


async def listen(socket: ClientConnection, messages: int) -> list[float]:
    """Return how long each message was under way; fewer than sent if the others do not come."""
    seconds: list[float] = []
    with contextlib.suppress(TimeoutError):
        while len(seconds) < messages:
            async with asyncio.timeout(PATIENCE_SECONDS):
                lines = await socket.recv()
            now = time.perf_counter()
            pushes = [json.loads(line)["push"] for line in lines.splitlines()]
            seconds += [now - push["pub"]["data"]["sent_at"] for push in pushes]
    return seconds


async def publish(socket: ClientConnection, messages: int, rate: float) -> None:
    """Publish at an even pace, from a start that does not move when a message is late."""
    start = time.perf_counter()
    for number in range(messages):
        await asyncio.sleep(start + number / rate - time.perf_counter())
        data = {"sent_at": time.perf_counter()}
        await socket.send(json.dumps({"publish": {"channel": CHANNEL, "data": data}}))


async def main(clients: int, messages: int, rate: float) -> None:
    """Measure once and print it."""
    context = ssl.create_default_context(cafile=".local/ca.pem")
    bearer = {"Authorization": "Bearer " + os.environ["TOKEN"]}
    url = f"wss://{HOST}/connection/websocket"
    async with contextlib.AsyncExitStack() as stack:
        sockets = [
            await stack.enter_async_context(connect(url, ssl=context, additional_headers=bearer))
            for _ in range(clients + 1)
        ]
        sender, *members = sockets
        await asyncio.gather(*map(join, members))
        start = time.perf_counter()
        listening = [asyncio.create_task(listen(member, messages)) for member in members]
        await publish(sender, messages, rate)
        seconds = [one for listener in listening for one in await listener]
        duration = time.perf_counter() - start
    if len(seconds) < 2:  # noqa: PLR2004 - there are no percentiles of less
        raise SystemExit("nothing was delivered")
    cuts = statistics.quantiles(seconds, n=100, method="inclusive")
    print(f"{len(seconds)} of {clients * messages} deliveries in {duration:.2f} s", end=": ")
    print(f"{len(seconds) / duration:.0f} per second")
    print(*(f"p{cut}: {1000 * cuts[cut - 1]:.1f} ms" for cut in (50, 95, 99)), end=", ")
    print(f"max: {1000 * max(seconds):.1f} ms")


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("--clients", type=int, default=50)
    parser.add_argument("--messages", type=int, default=100)
    parser.add_argument("--rate", type=float, default=20, help="messages per second")
    asyncio.run(main(**vars(parser.parse_args())))
