"""O1 to O6: forms, passwords, and that nobody learns from them who exists."""

from __future__ import annotations

import socket
import time
from pathlib import Path
from urllib.parse import urlencode

import httpx2
import pytest

from tests.attacks.running import PASSWORD, Process, Services, exchange
from tests.attacks.token_requests import refused

pytestmark = pytest.mark.integration

FORM = "application/x-www-form-urlencoded"
LONG = ("seventy-two letters, " * 4)[:72]


def raw(services: Services, body: bytes, content_type: str = FORM) -> httpx2.Response:
    """Send a body as it is."""
    return services.http.post("/token", content=body, headers={"Content-Type": content_type})


@pytest.mark.parametrize(
    ("body", "error"),
    [
        (b"grant_type=magic", "unsupported_grant_type"),
        (b"grant_type=PASSWORD", "unsupported_grant_type"),
        (b"username=alice", "invalid_request"),
        (b"grant_type=", "invalid_request"),
        (b"grant_type=password&grant_type=password", "invalid_request"),
        (b"", "invalid_request"),
    ],
)
def test_o1_grant_type(services: Services, body: bytes, error: str) -> None:
    """Unknown, missing, empty and double."""
    refused(raw(services, body), 400, error)


@pytest.mark.parametrize(
    "body",
    [
        b"username=&password=x",
        b"password=x",
        b"username=alice",
        b"username=alice&password=",
        b"username=alice&username=bob&password=x",
        b"username=alice&password=x&password=y",
        b"Username=alice&Password=x",
    ],
)
def test_o2_credentials_are_each_there_once(services: Services, body: bytes) -> None:
    """Missing, empty, twice, and names in another case."""
    answer = raw(services, b"grant_type=password&client_id=app&" + body)

    refused(answer, 400, "invalid_request")


@pytest.mark.parametrize(
    ("body", "content_type"),
    [
        (b'{"grant_type":"password"}', "application/json"),
        (b"grant_type=password", "text/plain"),
        (b"grant_type=password", f"{FORM}; charset=latin-1"),
        (b"--x\r\n\r\n--x--", "multipart/form-data; boundary=x"),
    ],
)
def test_o3_other_bodies(services: Services, body: bytes, content_type: str) -> None:
    """The token endpoint takes forms in UTF-8."""
    refused(raw(services, body, content_type), 400, "invalid_request")


def test_o3_no_content_type(services: Services) -> None:
    """Nobody guesses."""
    port = httpx2.URL(services.url).port or 0
    head = exchange(port, b"POST /token HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\n\r\nx")

    assert head.startswith(b"HTTP/1.1 400 ")


def test_o3_a_query_is_neither_read_nor_logged(services: Services) -> None:
    """GET is 405; what stood in the address is in no log."""
    query = urlencode(
        {"grant_type": "password", "username": "alice", "password": "hunter-in-a-log"}
    )

    got = services.http.get(f"/token?{query}")
    posted = services.http.post(f"/token?{query}", data={"client_id": "app"})

    assert got.status_code == httpx2.codes.METHOD_NOT_ALLOWED
    refused(posted, 400, "invalid_request")
    assert "hunter-in-a-log" not in services.auth.log


@pytest.mark.parametrize("size", [1025, 5000])
def test_o4_long_passwords_are_refused_before_they_are_hashed(
    services: Services, size: int
) -> None:
    """Nothing is cut off."""
    before = services.auth.metrics("auth_password_hash_seconds_count")

    refused(services.token(password="x" * size), 400, "invalid_request")

    assert services.auth.metrics("auth_password_hash_seconds_count") == before


def test_o4_large_bodies_are_refused_unread(services: Services) -> None:
    """By their announced length, and by what really comes."""
    refused(services.token(password="x" * 1_000_000), 413, "invalid_request")

    port = httpx2.URL(services.url).port or 0
    before = rss(services.auth)
    with socket.create_connection(("127.0.0.1", port), timeout=10) as connection:
        connection.sendall(
            b"POST /token HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n"
            b"Content-Type: " + FORM.encode() + b"\r\n\r\n"
        )
        sent = 0
        try:
            while sent < 100 * 2**20:
                connection.sendall(b"10000\r\n" + b"x" * 0x10000 + b"\r\n")
                sent += 0x10000
        except OSError:
            pass  # closed in our face, as it should be
        assert sent < 100 * 2**20
    assert rss(services.auth) < before + 20 * 2**20


def test_o4_slow_bodies_are_ended(services: Services) -> None:
    """One byte a second is no way to hold a connection."""
    port = httpx2.URL(services.url).port or 0
    begin = time.monotonic()
    with socket.create_connection(("127.0.0.1", port), timeout=15) as connection:
        connection.sendall(
            b"POST /token HTTP/1.1\r\nHost: a\r\nContent-Length: 1000\r\n"
            b"Content-Type: " + FORM.encode() + b"\r\n\r\ngrant"
        )
        answer = connection.recv(65_536)

    assert answer.startswith(b"HTTP/1.1 408 ")
    assert time.monotonic() - begin < 10


def rss(process: Process) -> int:
    """Return a process' memory in bytes."""
    pages = Path(f"/proc/{process.process.pid}/statm").read_text("ascii").split()[1]
    return int(pages) * 4096


@pytest.mark.parametrize(
    "body",
    [
        b"password=a%00b",
        b"password=%ED%A0%80aaaaaaaaaaaaaaaaaaaa",
        b"password=%ff%fe",
        b"password=\xff\xfe",
        b"username=alice%00&password=x",
    ],
)
def test_o5_what_is_no_text_is_refused(services: Services, body: bytes) -> None:
    """NUL, surrogates and invalid UTF-8."""
    refused(
        raw(services, b"grant_type=password&client_id=app&username=alice&" + body)
        if not body.startswith(b"username")
        else raw(services, b"grant_type=password&client_id=app&" + body),
        400,
        "invalid_request",
    )


@pytest.mark.parametrize(
    "password",
    [
        "\U0001f600 with a face in it",
        "  blanks at both ends  ",
        "é as two code points e\u0301",
        "one hundred letters " * 5,
        "%2B+and&=are=just&characters",
    ],
)
def test_o5_passwords_are_taken_exactly(services: Services, password: str) -> None:
    """No normalisation, no trimming, and no end after 72 bytes."""
    name = f"exact-{len(password)}-{password[0]!r}"
    services.order("users", "add", name, "--password-stdin", given=password + "\n")

    assert services.token(username=name, password=password).status_code == httpx2.codes.OK
    for other in (password + "x", password[:-1], password.strip() + "\t"):
        refused(services.token(username=name, password=other), 400, "invalid_grant")


def test_o5_seventy_two_bytes_are_not_the_whole_password(services: Services) -> None:
    """The trap of bcrypt."""
    services.order("users", "add", "long", "--password-stdin", given=LONG + "X\n")

    refused(services.token(username="long", password=LONG + "Y"), 400, "invalid_grant")


def test_o6_nobody_learns_who_exists(services: Services) -> None:
    """Unknown, wrong and disabled: one body, one status, the same headers, one hash each."""
    services.order("users", "add", "gone", "--password-stdin", given=PASSWORD + "\n")
    services.order("users", "disable", "gone")
    seen = set()

    for form in (
        {"username": "alice", "password": "wrong"},
        {"username": "nobody at all"},
        {"username": "gone"},
        {"username": "client:bot"},
        {"username": "a\u202eb"},
    ):
        before = services.auth.metrics("auth_password_hash_seconds_count")
        answer = services.token(**form)
        refused(answer, 400, "invalid_grant")
        assert services.auth.metrics("auth_password_hash_seconds_count") == before + 1
        names = frozenset(answer.headers.keys())
        seen.add((answer.text, names, answer.headers["Content-Length"]))

    assert len(seen) == 1
