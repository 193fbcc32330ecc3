"""How a token is fetched, and what becomes of it if there is none."""

from __future__ import annotations

import ssl
import threading
from collections.abc import AsyncIterator, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs

import pytest
from prometheus_client import CollectorRegistry
from typing_extensions import override

from infra.canary.login import Login, LoginError
from infra.canary.metrics import Metrics
from infra.canary.settings import Settings

PASSWORD = "correct horse"


class Front(ThreadingHTTPServer):
    """Answers with what it is told to, and notes what it was asked."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.answer: tuple[int, bytes] = (200, b'{"access_token":"t","sub":"me"}')
        self.asked: list[tuple[str, dict[str, list[str]], str | None]] = []


class _Handler(BaseHTTPRequestHandler):
    server: Front

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length", 0))).decode()
        self.server.asked.append((self.path, parse_qs(body), self.headers["Authorization"]))
        status, content = self.server.answer
        if not status:
            return
        self.send_response(status)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    do_GET = do_POST  # noqa: N815 - as the base class looks for it

    @override
    def log_message(self, *_arguments: object) -> None:
        """Say nothing."""


@pytest.fixture
def front() -> Iterator[Front]:
    """A front of which nothing is real."""
    with Front() as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        yield server
        server.shutdown()
        thread.join()


@pytest.fixture
def registry() -> CollectorRegistry:
    """Where the log-ins are counted."""
    return CollectorRegistry()


class Clock:
    """Stands still unless it is moved."""

    now = 0.0

    def __call__(self) -> float:
        """Tell it."""
        return self.now


@pytest.fixture
def clock() -> Clock:
    """The time by which it waits."""
    return Clock()


@pytest.fixture
async def login(front: Front, registry: CollectorRegistry, clock: Clock) -> AsyncIterator[Login]:
    """One that asks that front."""
    settings = Settings(url=f"http://127.0.0.1:{front.server_port}", password=PASSWORD)
    made = Login(
        settings, Metrics(registry, 5), ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT), clock=clock
    )
    yield made
    await made.close()


def counted(registry: CollectorRegistry) -> tuple[Any, Any]:
    """Return the good and the failed log-ins."""
    good, failed = (
        registry.get_sample_value("canary_attempts_total", {"stage": "login", "outcome": outcome})
        for outcome in ("success", "failure")
    )
    return good, failed


async def test_it_logs_in_with_the_password_of_its_user(
    front: Front, login: Login, registry: CollectorRegistry
) -> None:
    """In the form of RFC 6749, and its channel has the user's id."""
    token = await login.token()
    channel = await login.channel(token)

    assert (token, channel) == ("t", "canary:#me")
    form = {"grant_type": "password", "username": "canary", "password": PASSWORD}
    expected = {name: [value] for name, value in form.items()} | {"client_id": ["canary"]}
    assert front.asked == [("/token", expected, None), ("/users/me", {}, "Bearer t")]
    assert counted(registry) == (1, 0)


@pytest.mark.parametrize(
    "answer",
    [(503, b""), (200, b"no JSON"), (200, b"[]"), (200, b"{}"), (302, b""), (0, b"")],
    ids=["error", "text", "list", "empty", "elsewhere", "cut"],
)
async def test_what_is_no_token_is_a_failure(
    answer: tuple[int, bytes],
    front: Front,
    login: Login,
    registry: CollectorRegistry,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """It may be better the next time; nothing that was sent is in what it says."""
    front.answer = answer
    for _ in range(2):
        with pytest.raises(LoginError, match=r"^/token: "):
            await login.token()

    assert len(front.asked) == 2
    assert counted(registry) == (0, 2)
    assert PASSWORD not in caplog.text + str([record.__dict__ for record in caplog.records])


async def test_a_refused_password_is_not_tried_again_at_once(
    front: Front, login: Login, registry: CollectorRegistry, clock: Clock
) -> None:
    """Each try costs the service a hash, and locks the account for longer."""
    front.answer = (400, b'{"error":"invalid_grant"}')
    for moment in (0.0, 1.0, 59.0):
        clock.now = moment
        with pytest.raises(LoginError):
            await login.token()
    assert len(front.asked) == 1

    front.answer = (200, b'{"access_token":"new"}')
    clock.now = 60.0
    assert await login.token() == "new"
    assert counted(registry) == (1, 1)
