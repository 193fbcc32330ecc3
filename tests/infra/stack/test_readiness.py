"""How one sees that a part works."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator

import pytest

from infra.stack import readiness


@pytest.fixture
def server() -> Iterator[socket.socket]:
    """A listening socket."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        yield listener


def answer(server: socket.socket, text: bytes) -> threading.Thread:
    """Answer one connection."""

    def serve() -> None:
        connection, _ = server.accept()
        with connection:
            connection.recv(1000)
            connection.sendall(text)

    thread = threading.Thread(target=serve)
    thread.start()
    return thread


@pytest.mark.parametrize(
    ("text", "works"),
    [
        (b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n", True),
        (b"HTTP/1.1 503 Not yet\r\nContent-Length: 0\r\n\r\n", False),
        (b"SSH-2.0\r\n", False),
        (b"", False),
    ],
)
def test_http_works_if_it_answers_200(server: socket.socket, text: bytes, works: bool) -> None:
    """And nothing else counts."""
    thread = answer(server, text)

    assert readiness.answers(server.getsockname()[1], "/health")() is works
    thread.join()


@pytest.mark.parametrize(
    ("text", "works"), [(b"+PONG\r\n", True), (b"-LOADING\r\n", False), (b"", False)]
)
def test_redis_works_if_it_answers_a_ping(server: socket.socket, text: bytes, works: bool) -> None:
    """While it loads it does not."""
    thread = answer(server, text)

    assert readiness.redis_answers(server.getsockname()[1])() is works
    thread.join()


@pytest.mark.parametrize(
    ("text", "works"), [(b"R\0\0\0\x17\0\0\0\x0a", True), (b"E\0\0\0\x09S", False), (b"", False)]
)
def test_postgresql_works_if_it_asks_who_we_are(
    server: socket.socket, text: bytes, works: bool
) -> None:
    """While it starts or recovers it sends an error."""
    thread = answer(server, text)

    assert readiness.postgresql_answers(server.getsockname()[1], "somebody")() is works
    thread.join()


def test_nobody_there_is_no() -> None:
    """Which is how every start begins."""
    with socket.create_server(("127.0.0.1", 0)) as gone:
        port = gone.getsockname()[1]

    assert readiness.answers(port, "/")() is False
    assert readiness.redis_answers(port)() is False
    assert readiness.postgresql_answers(port, "somebody")() is False
