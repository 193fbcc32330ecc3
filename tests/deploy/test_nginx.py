"""The front: what it lets through, what it hides, and what it never writes down."""

from __future__ import annotations

import contextlib
import json
import os
import secrets
import signal
import socket
import ssl
import subprocess
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from infra.embedded import certificate, front as embedded
from infra.stack import nginx
from tests.deploy.front import SECONDS, Front, Request, parse

pytestmark = pytest.mark.integration

TIGHT = nginx.Limits(
    tokens_per_second=1,
    token_burst=3,
    handshakes_per_second=1,
    handshake_burst=5,
    sockets=3,
)


@pytest.fixture(scope="module")
def front(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Front]:
    """An nginx without limits."""
    running = Front(tmp_path_factory.mktemp("front")).start()
    yield running
    running.stop()


@contextlib.contextmanager
def another(directory: Path, **options: object) -> Iterator[Front]:
    """Run an nginx of a test's own."""
    running = Front(directory, **options).start()  # type: ignore[arg-type]
    try:
        yield running
    finally:
        running.stop()


def last(front: Front, service: str) -> Request:
    """Return what a service was sent last."""
    return (front.auth if service == "auth" else front.gateway).requests[-1]


# --- the configuration ---------------------------------------------------------------------------


@pytest.mark.parametrize("limits", [nginx.Limits(), None])
def test_nginx_accepts_the_configuration(tmp_path: Path, limits: nginx.Limits | None) -> None:
    """Without a warning, with the limits and without."""
    front = Front(tmp_path, limits=limits)
    front.write()

    tested = subprocess.run(  # noqa: S603 - the command is ours
        [*front.command, "-t"], capture_output=True, text=True, check=False
    )

    assert tested.returncode == 0, tested.stderr
    assert "warn" not in tested.stderr


# --- the list of paths ---------------------------------------------------------------------------

OURS = sorted(path.decode() for path in embedded._AUTH | embedded._GATEWAY)
BELOW = [
    "/sessions/a-B_9",
    "/.well-known/oauth-authorization-server/tenant",
    "/static/auth/login.js",
    "/static/auth/a/b-c_d.e.css",
    "/static/gateway/page.js",
]
HOSTILE = [
    *("//token", "/%61pi", "/connection/../metrics", "/./token", "/token/", "/token/.", "/TOKEN"),
    *("/%74oken", "/token%2f", "/token%00", "/token;x=1", "/token#x", "/tokens", "/x/../token"),
    *("/metrics", "/metrics?x", "//metrics", "/%6detrics", "/health", "/health/live"),
    *("/health/ready", "/health/started", "/api", "/api/publish", "/api/info", "/revocations"),
    *("/stub_status", "/nginx_status", "/docs/", "/docs/x", "/openapi.json/", "/openapixjson"),
    *(
        "/.well-known/",
        "/.well-known/jwks",
        "/.well-known/jwks-json",
        "/.well-known/x/../jwks.json",
    ),
    *("/connection/websocket/", "/connection//websocket", "/connection/websocket%20"),
    *(
        "/connection/%77ebsocket",
        "/connection/websocket/../../token",
        "/connection",
        "/connection/",
    ),
    *("/sessions/", "/sessions/a/b", "/sessions/a.b", "/sessions/%61", "/sessions/.."),
    *("/static/auth", "/static/auth/", "/static/auth/.env", "/static/auth/a/../b"),
    *("/static/auth/..", "/static/auth/%2e%2e/x", "/static/auth//x", "/static/gateway/.git/config"),
    *("/static/other/x.js", "/static/auth/x\\y", "/%2e%2e/metrics", "/%2F%2Ftoken", "/users/me/"),
    *("/users/me/../../metrics", "/users", "/users/me/password/", "/token%3fx", "/%", "/%zz"),
    *(
        "/\xff",
        "/%ff",
        "/token /token",
        "*",
        "token",
        "/robots.txt",
        "/favicon.ico",
        "/.git/config",
    ),
]


@pytest.mark.parametrize("path", [*OURS, *BELOW])
def test_our_paths_reach_their_service(front: Front, path: str) -> None:
    """The same as in the embedded front."""
    expected = "auth" if _verdict(path) == "auth" else "gateway"

    answer = front.ask(f"{path}?a=%2f&b=//", tls=True)

    assert (answer.status, answer.body.decode()) == (200, expected)
    assert last(front, expected).target == f"{path}?a=%2f&b=//"


@pytest.mark.parametrize("path", HOSTILE)
def test_other_spellings_reach_nobody(front: Front, path: str) -> None:
    """Whatever nginx or a service would make of them."""
    before = len(front.auth.requests), len(front.gateway.requests)

    answer = front.ask(path)
    with front.upgraded(path) as (_, upgrade):
        pass

    assert _verdict(path) == "none"
    assert answer.status in {400, 404}
    assert upgrade.status in {400, 404}
    assert (len(front.auth.requests), len(front.gateway.requests)) == before


def test_the_server_api_is_on_the_plain_listener_alone(tmp_path: Path) -> None:
    """And there only where the gateways serve it; with its own limit of a body."""
    with another(tmp_path, api_bytes=100_000) as front:
        plain = front.ask("/api/publish", method="POST", body=b"x" * 90_000)
        connection = front.ask("/api/connections/0123-abc")
        larger = front.ask("/api/publish", method="POST", body=b"x" * 110_000)
        secure = front.ask("/api/publish", method="POST", body=b"{}", tls=True)
        others = [front.ask(path).status for path in ("/api", "/api/", "/api/a/b", "//api/info")]

    assert (plain.status, plain.body, connection.body) == (200, b"gateway", b"gateway")
    assert larger.status == 413
    assert secure.status == 404
    assert others == [404] * 4


def test_an_absolute_target_is_its_path(front: Front) -> None:
    """RFC 9112 section 3.2.2: a proxy's form of the same thing."""
    assert front.ask("http://localhost/token").body == b"auth"
    assert front.ask("http://localhost//token").status == 404
    assert front.ask("http://metrics/metrics").status == 404


def _verdict(path: str) -> str:
    """Ask the embedded front."""
    raw = path.partition("?")[0].encode("latin-1")
    front = embedded.Front(auth=_auth, gateway=_gateway)  # type: ignore[arg-type]
    chosen: object = front._choose({"type": "http", "raw_path": raw})
    return "auth" if chosen is _auth else "gateway" if chosen is _gateway else "none"


def _auth() -> None:
    """Stand for the token service."""


def _gateway() -> None:
    """Stand for the gateway."""


# --- headers -------------------------------------------------------------------------------------


@pytest.mark.parametrize("tls", [True, False])
def test_a_websocket_is_upgraded_and_carries_bytes_both_ways(front: Front, tls: bool) -> None:
    """Through both listeners, with the client's own words for its part of the handshake."""
    headers = {
        "Sec-WebSocket-Key": "dGhlIHNhbXBsZSBub25jZQ==",
        "Sec-WebSocket-Version": "13",
        "Sec-WebSocket-Protocol": "centrifuge-json, bearer.abc",
        "Authorization": "Bearer abc",
        "Cookie": "__Host-drawbridge=abc",
        "Origin": "https://localhost:8443",
    }

    with front.upgraded(headers=headers, tls=tls) as (connection, answer):
        connection.sendall(b"\x00\x01 what a frame may hold")
        echoed = connection.recv(100)

    seen = last(front, "gateway")
    assert answer.status == 101
    assert echoed == b"\x00\x01 what a frame may hold"
    assert (seen.all("upgrade"), seen.all("connection")) == (["websocket"], ["upgrade"])
    assert {name: seen.all(name.lower()) for name in headers} == {
        name: [value] for name, value in headers.items()
    }
    assert seen.all("x-forwarded-proto") == ["https" if tls else "http"]
    assert [name for name, _ in answer.headers if name.startswith(("x-", "referrer"))] == []


@pytest.mark.parametrize("path", ["/token", "/users/me", "/"])
def test_other_paths_are_not_upgraded(front: Front, path: str) -> None:
    """Only a WebSocket's path is."""
    with front.upgraded(path) as (_, answer):
        assert answer.status == 200

    assert last(front, "auth" if path != "/" else "gateway").all("upgrade") == []


def test_only_websockets_are_upgrades(front: Front) -> None:
    """HTTP/2 without TLS is not spoken behind our back."""
    front.ask("/connection/websocket", headers={"Upgrade": "h2c", "HTTP2-Settings": "AAMAAABk"})

    seen = last(front, "gateway")
    assert seen.all("upgrade") == []
    assert "upgrade" not in "".join(seen.all("connection"))


@pytest.mark.parametrize("path", ["/token", "/connection/websocket", "/"])
def test_where_a_client_comes_from_is_written_by_nginx(front: Front, path: str) -> None:
    """Never added to what a client claims: the services believe it."""
    names = ("Forwarded", "X-Forwarded-For", "X-Forwarded-Host", "X-Forwarded-Port")
    more = ("X-Forwarded-Prefix", "X-Forwarded-Proto", "X-Real-IP", "X-Request-ID")
    claims = dict.fromkeys((*names, *more), "203.0.113.9")

    front.ask(path, headers=claims)

    seen = last(front, "auth" if path == "/token" else "gateway")
    assert "203.0.113.9" not in repr(seen.headers)
    assert seen.all("x-forwarded-for") == seen.all("x-real-ip") == ["127.0.0.1"]
    assert seen.all("x-forwarded-proto") == ["http"]
    assert len(seen.all("x-request-id")[0]) == 32


def test_a_request_has_one_id_everywhere(front: Front) -> None:
    """In the service, in the answer and in the log."""
    answer = front.ask("/users/me")

    (given,) = last(front, "auth").all("x-request-id")
    assert answer.all("x-request-id") == [given]
    assert any(line["request_id"] == given for line in log(front))


def test_headers_of_the_services_are_not_doubled(front: Front) -> None:
    """And those they lack are there, once."""
    front.auth.answer_headers = (
        "X-Content-Type-Options: nosniff\r\nX-Frame-Options: SAMEORIGIN\r\n"
        "Referrer-Policy: same-origin\r\nX-Request-ID: theirs\r\n"
    )
    theirs = front.ask("/users/me")
    front.auth.answer_headers = ""
    ours = front.ask("/users/me")
    own = front.ask("/nothing")

    assert theirs.all("x-content-type-options") == ["nosniff"]
    assert theirs.all("x-frame-options") == ["SAMEORIGIN"]
    assert theirs.all("referrer-policy") == ["same-origin"]
    assert theirs.all("x-request-id") == ["theirs"]
    for answer in (ours, own):
        assert answer.all("x-content-type-options") == ["nosniff"]
        assert answer.all("x-frame-options") == ["DENY"]
        assert answer.all("referrer-policy") == ["no-referrer"]
        assert answer.all("server") in ([], ["nginx"])
    assert own.body == b"Not Found"


def test_old_tls_is_refused(front: Front) -> None:
    """1.2 is the oldest."""
    versions = {}
    for version in ("tls1", "tls1_1", "tls1_2", "tls1_3"):
        done = subprocess.run(  # noqa: S603 - nothing in it comes from outside
            [
                *("openssl", "s_client", "-connect", f"127.0.0.1:{front.tls}", f"-{version}"),
                *("-cipher", "DEFAULT@SECLEVEL=0"),
            ],
            input="",
            capture_output=True,
            text=True,
            check=False,
        )
        versions[version] = "Cipher is (NONE)" not in done.stdout and done.returncode == 0

    assert versions == {"tls1": False, "tls1_1": False, "tls1_2": True, "tls1_3": True}


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
def test_who_comes_back_is_known(front: Front, version: ssl.TLSVersion) -> None:
    """The costly half of a handshake is made once, whichever worker takes the next one."""
    context = ssl.create_default_context(cafile=front.directory / certificate.CA)
    context.minimum_version = context.maximum_version = version

    def visit(session: ssl.SSLSession | None) -> tuple[ssl.SSLSession | None, bool | None]:
        plain = socket.create_connection(("127.0.0.1", front.tls), timeout=SECONDS)
        with context.wrap_socket(plain, server_hostname="localhost", session=session) as connection:
            connection.sendall(b"GET / HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
            while connection.recv(65536):
                pass
            return connection.session, connection.session_reused

    session, reused = visit(None)

    assert not reused
    assert [visit(session)[1] for _ in range(4)] == [True] * 4


def test_browsers_come_back_by_tls_unless_it_is_ones_own_machine(front: Front) -> None:
    """Nor are they told without TLS, or by an address, or in the answer to a handshake."""

    def told(host: str, *, tls: bool = True) -> list[str]:
        head = f"GET /users/me HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n"
        return front.raw(head, tls=tls).all("strict-transport-security")

    year = ["max-age=31536000"]
    assert told("drawbridge.example") == told("drawbridge.example:8443") == year
    assert told("localhost.example") == told("1.2.3.4.example") == year
    assert told("drawbridge.example", tls=False) == []
    for host in ("localhost", "localhost:8443", "app.localhost", "127.0.0.1:8443", "[::1]:8443"):
        assert told(host) == [], host
    with front.connect(tls=True) as connection:
        head = "GET /connection/websocket HTTP/1.1\r\nHost: drawbridge.example\r\n"
        connection.sendall(f"{head}Connection: Upgrade\r\nUpgrade: websocket\r\n\r\n".encode())
        received = b""
        while b"\r\n\r\n" not in received and (chunk := connection.recv(65536)):
            received += chunk
    answer = parse(received)
    assert (answer.status, answer.all("strict-transport-security")) == (101, [])


# --- the log -------------------------------------------------------------------------------------


def log(front: Front) -> list[dict[str, str]]:
    """Read the access log."""
    text = (front.logs / "nginx-access.log").read_text("utf-8")
    return [json.loads(line) for line in text.splitlines()]


def test_no_token_is_in_any_log(tmp_path: Path) -> None:
    """Wherever a client puts it, and whatever becomes of the request."""
    # As long as a real one is, and without a part that could be elsewhere.
    token = (
        f"eyJ{secrets.token_urlsafe(24)}.{secrets.token_urlsafe(200)}.{secrets.token_urlsafe(64)}"
    )
    headers = {
        "Authorization": f"Bearer {token}",
        "Cookie": f"__Host-drawbridge={token}",
        "Sec-WebSocket-Protocol": f"centrifuge-json, bearer.{token}",
        "Referer": f"https://localhost/?access_token={token}",
        "User-Agent": token,
        "X-Request-ID": token,
    }
    with another(tmp_path, limits=TIGHT) as front:
        statuses = set()
        for target in (
            f"/connection/websocket?access_token={token}",
            f"/connection/websocket?cf_connect={token}",
            f"/connection/sse?cf_connect={token}",
            f"/{token}",
            f"/connection/websocket/{token}",
            f"/token?{token}",
            f"/%ff?{token}",
            f"/%zz{token}",
        ):
            for _ in range(8):  # into the limits
                statuses.add(front.ask(target, headers=headers).status)
                with front.upgraded(target, headers) as (_, answer):
                    statuses.add(answer.status)
        front.ask("/token", method="POST", body=f"password={token}".encode())
        # A head that is too large, one that is none, and a body that never comes.
        statuses.add(front.ask(f"/token?{token}{'x' * 20_000}").status)
        front.raw(f"GET /token?{token} HTTP/1.1\r\nHost: a b\r\n{token}\r\n\r\n")
        front.gateway.die()
        front.auth.die()
        deadline = time.monotonic() + 10
        while 502 not in statuses:  # until the limit lets one request more through
            assert time.monotonic() < deadline
            statuses.add(front.ask(f"/token?{token}", headers=headers).status)
        statuses.add(front.ask(f"/?{token}", headers=headers).status)
        os.kill(front.process.pid, signal.SIGHUP)
        while "gracefully shutting down" not in (said := front.said()):
            assert time.monotonic() < deadline

    assert {101, 200, 400, 404, 414, 429, 502} <= statuses
    assert token not in said
    # Nor a part of it, cut or decoded.
    assert not [part for part in token.split(".") if part[:20] in said]
    assert log(front)


def test_the_log_has_the_path_and_what_became_of_it(front: Front) -> None:
    """One JSON object a line, also for the strangest request."""
    front.ask('/"quoted"\\%0a%22?secret')
    front.ask("/\xff\xfe")
    front.ask("/users/me?secret")
    front.raw("\x16\x03\x01 nonsense\r\n\r\n")

    lines = log(front)
    (seen,) = [line for line in lines[-4:] if line["path"] == "/users/me"]
    assert seen["status"] == "200"
    assert seen["method"] == "GET"
    assert seen["upstream"] == front.auth.address
    assert seen["address"] == "127.0.0.1"
    assert not [line for line in lines if "secret" in repr(line)]


# --- limits --------------------------------------------------------------------------------------


def test_token_requests_are_limited(tmp_path: Path) -> None:
    """With 429 and a hint; other paths go on."""
    with another(tmp_path, limits=TIGHT) as front:
        answers = [front.ask("/token", method="POST") for _ in range(8)]
        others = [front.ask("/users/me").status for _ in range(8)]

        refused = [answer for answer in answers if answer.status == 429]
        assert len(refused) >= 3
        assert len(front.auth.requests) == 8 - len(refused) + 8
        assert refused[0].all("retry-after") == ["1"]
        assert refused[0].body == b"Too Many Requests"
        assert others == [200] * 8


def test_handshakes_and_sockets_are_limited_per_address(tmp_path: Path) -> None:
    """A socket counts as long as it is open."""
    with another(tmp_path, limits=TIGHT) as front, contextlib.ExitStack() as stack:
        first = [stack.enter_context(front.upgraded())[1].status for _ in range(4)]
        stack.pop_all().close()
        later = []
        for _ in range(5):
            with front.upgraded() as (_, answer):
                later.append(answer.status)

        assert first == [101, 101, 101, 429]  # too many sockets
        assert later[0] == 101  # they are gone
        assert later[-1] == 429  # too many handshakes


def test_load_tests_are_not_limited(front: Front) -> None:
    """What ``LIMITS=load`` renders."""
    with contextlib.ExitStack() as stack:
        statuses = {stack.enter_context(front.upgraded())[1].status for _ in range(150)}
    statuses |= {front.ask("/token").status for _ in range(50)}

    assert statuses == {101, 200}


def test_large_bodies_and_heads_are_refused(front: Front) -> None:
    """Before a service sees them."""
    before = len(front.auth.requests)

    body = front.ask("/token", method="POST", body=b"x" * (64 * 1024 + 1))
    head = front.ask("/token", headers={"X-Large": "x" * 17_000})
    many = front.ask("/token", headers={f"X-{number}": "x" * 8_000 for number in range(12)})

    assert (body.status, head.status, many.status) == (413, 400, 400)
    assert len(front.auth.requests) == before


def test_a_token_of_eight_kilobytes_passes(front: Front) -> None:
    """In the header and as a subprotocol."""
    token = "x" * 8_192

    answer = front.ask("/users/me", headers={"Authorization": f"Bearer {token}"})
    with front.upgraded(headers={"Sec-WebSocket-Protocol": f"bearer.{token}"}) as (_, upgrade):
        pass

    assert (answer.status, upgrade.status) == (200, 101)


# --- time ----------------------------------------------------------------------------------------


def test_a_head_or_a_body_that_trickles_is_cut(tmp_path: Path) -> None:
    """The deadline for the head is one for all of it."""
    quick = {"client_header_timeout 10s": "client_header_timeout 1s"} | {
        "client_body_timeout 10s": "client_body_timeout 1s"
    }
    with another(tmp_path, replaced=quick) as front:
        with front.connect() as slow, front.connect() as silent, front.connect() as waiting:
            waiting.sendall(b"POST /token HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\nab")
            begin = time.monotonic()
            with contextlib.suppress(ConnectionError):
                for byte in b"GET /token HTTP/1.1\r\nX: ":
                    slow.sendall(bytes([byte]))
                    time.sleep(0.15)
            trickled = time.monotonic() - begin
            ends = [read_all(connection) for connection in (slow, silent, waiting)]

        assert trickled < 3.5
        assert [parse(end).status for end in ends] in ([408, 0, 408], [0, 0, 408], [0, 0, 0])
        assert front.auth.requests == []


def read_all(connection: object) -> bytes:
    """Read until the end, which may be a reset."""
    received = b""
    with contextlib.suppress(ConnectionError):
        while chunk := connection.recv(4096):  # type: ignore[attr-defined]
            received += chunk
    return received


def test_a_socket_lives_as_long_as_it_is_pinged(tmp_path: Path) -> None:
    """Silence on both sides ends it; the shipped value is three pings."""
    with (
        another(tmp_path, silence=2) as front,
        front.upgraded() as (lively, _),
        front.upgraded() as (silent, _),
    ):
        for _ in range(25):
            lively.sendall(b"ping")
            assert lively.recv(10) == b"ping"
            time.sleep(0.1)

        assert read_all(silent) == b""
        lively.sendall(b"still there")
        assert lively.recv(20) == b"still there"


def test_a_gateway_that_is_gone_costs_nobody_a_handshake(tmp_path: Path) -> None:
    """The next one is asked; a service that is gone altogether is 502."""
    with another(tmp_path, dead_gateway=True) as front:
        statuses = []
        for _ in range(10):
            with front.upgraded() as (_, answer):
                statuses.append(answer.status)
        front.gateway.die()
        front.auth.die()

        assert statuses == [101] * 10
        answer = front.ask("/connection/websocket")
        assert (answer.status, answer.body) == (502, b"The service cannot be reached")
        assert front.ask("/token", method="POST").status == 502


def test_a_reload_keeps_the_sockets(tmp_path: Path) -> None:
    """The retired workers serve them to their end."""
    with another(tmp_path) as front, front.upgraded() as (connection, _):
        front.write(limits=TIGHT)
        front.process.send_signal(signal.SIGHUP)
        deadline = time.monotonic() + 5
        while front.ask("/token").status != 429:  # the new ones serve
            assert time.monotonic() < deadline
        connection.sendall(b"after")

        assert connection.recv(10) == b"after"


# --- users ---------------------------------------------------------------------------------------


@pytest.mark.skipif(os.geteuid() != 0, reason="the other tests run it unprivileged")
def test_it_runs_as_anybody() -> None:
    """All it writes is in its own directory."""
    with tempfile.TemporaryDirectory() as name, another(Path(name), user=65534) as front:
        status = Path(f"/proc/{front.process.pid}/status").read_text()

        assert "Uid:\t65534" in status
        assert front.ask("/token", tls=True).status == 200


@pytest.mark.skipif(os.geteuid() != 0, reason="only root has workers of another user")
def test_as_root_the_workers_are_somebody_else(front: Front) -> None:
    """Who talks to the world owns nothing."""
    children = Path(f"/proc/{front.process.pid}/task/{front.process.pid}/children").read_text()

    for pid in children.split():
        assert "Uid:\t0" not in Path(f"/proc/{pid}/status").read_text()
