"""How one sees that a part of the stack works."""

from __future__ import annotations

import http.client
import socket
import struct
from collections.abc import Callable

_SECONDS = 2.0
_OK = 200
_PROTOCOL_3 = 196_608

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


def postgresql_answers(port: int, role: str) -> Check:
    """Return a check for PostgreSQL's question who we are; while it recovers it sends an error."""
    words = f"user\0{role}\0database\0postgres\0\0".encode()
    hello = struct.pack("!II", 8 + len(words), _PROTOCOL_3) + words

    def check() -> bool:
        try:
            with socket.create_connection(("127.0.0.1", port), timeout=_SECONDS) as connection:
                connection.sendall(hello)
                return connection.recv(1) == b"R"
        except OSError:
            return False

    return check
