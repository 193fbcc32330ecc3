"""Publish from a cron job: one request to the server API, and again with the same key if it fails.

Beside `make run`, from the top of the repository, with the server's GATEWAY_API_KEY:

    .venv/bin/python docs/examples/from_cron.py room:garden "the cake is ready"

Whoever is in that room hears it (rooms.py: `join garden`). The key of the publication makes it safe
to repeat: the gateway publishes it once. The exit status tells cron whether it was taken.
"""

from __future__ import annotations

import json
import os
import sys
import time
import uuid
from urllib.error import URLError
from urllib.request import Request, urlopen

API = os.environ.get("DRAWBRIDGE_API", "http://127.0.0.1:9011/api")
ATTEMPTS = 3


def publish(channel: str, text: str) -> str | None:
    """Publish once, however often it must be asked; returns what went wrong."""
    command = {"channel": channel, "data": text, "idempotency_key": str(uuid.uuid4())}
    headers = {"X-API-Key": os.environ["GATEWAY_API_KEY"]}
    request = Request(f"{API}/publish", json.dumps(command).encode(), headers)  # noqa: S310 - ours
    failure = None
    for attempt in range(ATTEMPTS):
        time.sleep(attempt)
        try:
            with urlopen(request, timeout=10) as answer:  # noqa: S310
                error = json.load(answer).get("error")
        except URLError as problem:  # nobody there, or an HTTP error
            failure = str(problem)
            continue
        if error is None:
            return None
        failure = f"{error['message']} ({error['code']})"
        if error["code"] != 100:  # noqa: PLR2004 - the one that is temporary
            break
    return failure


if __name__ == "__main__":
    sys.exit(publish(*sys.argv[1:3]))
