"""Publish beside the threads of a web application: they leave messages, one thread sends them.

Beside `make run`, from the top of the repository, with the server's GATEWAY_API_KEY:

    .venv/bin/python docs/examples/from_worker.py room:garden

Three threads say something each; nobody waits for the gateway. What has come together is sent in
one request of several commands (rooms.py: `join garden` hears it).
"""

from __future__ import annotations

import json
import os
import queue
import sys
import threading
from typing import Self
from urllib.request import Request, urlopen

API = os.environ.get("DRAWBRIDGE_API", "http://127.0.0.1:9011/api")
AT_ONCE = 100


class Publisher:
    """A thread that publishes what others leave; used as ``with Publisher() as publisher``."""

    def __init__(self) -> None:
        # Bounded: when the gateway is away, put() says so after a while, not the memory.
        self._left: queue.Queue[dict[str, object] | None] = queue.Queue(10_000)
        self._thread = threading.Thread(target=self._run)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_reason: object) -> None:
        self._left.put(None)
        self._thread.join()

    def publish(self, channel: str, data: object) -> None:
        """Leave a message; any thread may."""
        self._left.put({"channel": channel, "data": data}, timeout=5)

    def _run(self) -> None:
        going = True
        while going:
            commands = [self._left.get()]
            while len(commands) < AT_ONCE and not self._left.empty():
                commands.append(self._left.get())
            going = None not in commands
            self._send([command for command in commands if command])

    def _send(self, commands: list[dict[str, object]]) -> None:
        if not commands:
            return
        body = json.dumps({"commands": [{"publish": command} for command in commands]})
        headers = {"X-API-Key": os.environ["GATEWAY_API_KEY"]}
        with urlopen(Request(f"{API}/batch", body.encode(), headers), timeout=10) as answer:  # noqa: S310 - our own URL
            for reply in json.load(answer)["replies"]:
                if "error" in reply:
                    print("not published:", reply["error"]["message"])


def main(channel: str) -> None:
    """Let three threads say something."""
    with Publisher() as publisher:
        threads = [
            threading.Thread(target=publisher.publish, args=(channel, f"thread {number} is here"))
            for number in range(3)
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()


if __name__ == "__main__":
    main(sys.argv[1])
