"""How one sees that a part of the stack works."""

from __future__ import annotations

import http.client
import socket
from collections.abc import Callable

_SECONDS = 2.0
_OK = 200

Check = Callable[[], bool]


def answers(port: int, path: str) -> Check:
    """Return a check for a 200 to ``GET path`` on this machine."""

    def check() -> bool:
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=_SECONDS)
        try:
            connection.request("GET", path)
            return connection.getresponse().status == _OK
        except (OSError, http.client.HTTPException):
            return False
        finally:
            connection.close()

    return check


def redis_answers(port: int) -> Check:
    """Return a check for Redis' answer to ``PING``."""

    def check() -> bool:
        try:
            with socket.create_connection(("127.0.0.1", port), timeout=_SECONDS) as connection:
                connection.sendall(b"PING\r\n")
                return connection.recv(16).startswith(b"+PONG")
        except OSError:
            return False

    return check
