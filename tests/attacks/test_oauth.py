"""O: what is thrown at the token service, on both databases, over real sockets.

Waiting times (O6, O7) belong to the benches; here it is counted what was done.
"""

from __future__ import annotations

import base64
import hashlib
import html
import json
import re
import socket
import ssl
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, quote, urlencode, urlsplit

import httpx2
import pytest

from tests.attacks.running import (
    DEVICE,
    PASSWORD,
    REDIRECT_URIS,
    SECRET,
    Process,
    Services,
    exchange,
)
from tests.postgres_server import PostgresServer

pytestmark = pytest.mark.integration

# Made once: loading the authorities takes longer than any request.
NO_TLS = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
FORM = "application/x-www-form-urlencoded"
VERIFIER = "v" * 43
CHALLENGE = (
    base64.urlsafe_b64encode(hashlib.sha256(VERIFIER.encode()).digest()).rstrip(b"=").decode()
)
LONG = ("seventy-two letters, " * 4)[:72]
# RFC 6749 section 5.2: printable ASCII without quotation mark and backslash.
DESCRIPTION = re.compile(r"[\x20-\x21\x23-\x5b\x5d-\x7e]*")


def refused(answer: httpx2.Response, status: int, error: str) -> None:
    """Check a refusal: status, word, form, and that no cache may keep it."""
    assert (answer.status_code, answer.json()["error"]) == (status, error), answer.text
    assert DESCRIPTION.fullmatch(answer.json().get("error_description", ""))
    assert answer.headers["Content-Type"] == "application/json"
    assert answer.headers["Cache-Control"] == "no-store"
    if status == httpx2.codes.UNAUTHORIZED and "Authorization" in answer.request.headers:
        assert answer.headers["WWW-Authenticate"]


def raw(services: Services, body: bytes, content_type: str = FORM) -> httpx2.Response:
    """Send a body as it is."""
    return services.http.post("/token", content=body, headers={"Content-Type": content_type})


def session(services: Services, **form: str) -> dict[str, Any]:
    """Log in; returns the tokens."""
    answer = services.token(**form)
    assert answer.status_code == httpx2.codes.OK, answer.text
    return dict(answer.json())


# O1 to O5: forms


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


# O6: who exists


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


# O7 to O9: floods and guessing, against a service with its limits and two workers


@pytest.fixture(scope="module")
def limited(
    tmp_path_factory: pytest.TempPathFactory, postgres: PostgresServer
) -> Iterator[Services]:
    """Two workers on PostgreSQL that believe the proxy 127.0.0.1; few attempts are allowed."""
    directory = tmp_path_factory.mktemp("limited")
    metrics = directory / "metrics"
    metrics.mkdir()
    settings = {
        "AUTH_TRUSTED_PROXIES": "127.0.0.1",
        "AUTH_LIMIT_ADDRESS": "30",
        "AUTH_LIMIT_ACCOUNT": "30",
        "AUTH_LOCKOUT_FAILURES": "5",
        "PROMETHEUS_MULTIPROC_DIR": str(metrics),
    }
    running = Services(
        directory, postgres.url(postgres.create()), settings, auth_arguments=("--workers", "2")
    ).start()
    running.populate()
    yield running
    running.stop()


def from_address(
    services: Services, address: str, name: str, password: str, forwarded: str = ""
) -> httpx2.Response:
    """Log in through the proxy, from an address of its telling."""
    form = {"grant_type": "password", "client_id": "app", "username": name, "password": password}
    headers = {"X-Forwarded-For": f"{forwarded}{address}"}
    # A connection each, so that both workers get their share.
    return once(services, form, headers)


def once(
    services: Services, form: dict[str, str], headers: dict[str, str] | None = None
) -> httpx2.Response:
    """Ask for a token over a connection that nobody else uses."""
    url = f"{services.url}/token"
    return httpx2.post(url, data=form, headers=headers, trust_env=False, verify=NO_TLS, timeout=20)


def test_o7_a_flood_is_answered_one_way_or_another(limited: Services) -> None:
    """Logged in, or 503 and 429 with a time to come back; the probes go on."""
    with ThreadPoolExecutor(50) as pool:
        answers = list(
            pool.map(
                lambda number: from_address(limited, f"192.0.2.{number % 250}", "bob", "wrong"),
                range(200),
            )
        )

    assert {answer.status_code for answer in answers} <= {400, 429, 503}
    assert any(answer.status_code == httpx2.codes.TOO_MANY_REQUESTS for answer in answers)
    assert all(
        int(answer.headers["Retry-After"]) >= 1
        for answer in answers
        if answer.status_code in {429, 503}
    )
    assert limited.auth.internal.get("/health/ready").status_code == httpx2.codes.OK
    assert limited.http.get("/.well-known/jwks.json").status_code == httpx2.codes.OK


def guesses(
    services: Services, addresses: Callable[[int], str], names: Callable[[int], str], count: int
) -> list[int]:
    """Guess passwords; returns the statuses."""
    return [
        from_address(services, addresses(number), names(number), "wrong").status_code
        for number in range(count)
    ]


def test_o8_one_account_from_one_address(limited: Services) -> None:
    """Throttled, also for a name that nobody has, and summed over the workers."""
    for name in ("alice", "nobody-1"):
        statuses = guesses(limited, lambda _: "198.51.100.1", lambda _, name=name: name, 12)  # type: ignore[misc]
        assert statuses[:5] == [400] * 5
        assert set(statuses[6:]) <= {429, 400}
        assert 429 in statuses


def test_o8_one_account_from_many_addresses(limited: Services) -> None:
    """The account has a counter of its own."""
    statuses = guesses(limited, lambda number: f"203.0.113.{number}", lambda _: "nobody-2", 12)

    assert 429 in statuses


def test_o8_one_address_over_many_accounts(limited: Services) -> None:
    """Spraying: the address has one too."""
    statuses = guesses(limited, lambda _: "198.51.100.2", lambda number: f"spray-{number}", 45)

    assert 429 in statuses


def test_o8_an_address_cannot_be_made_up(limited: Services) -> None:
    """What stands before the proxy's own entry is the client's word."""
    statuses = [
        from_address(
            limited, "198.51.100.3", f"spoof-{number}", "wrong", forwarded=f"10.0.0.{number}, "
        ).status_code
        for number in range(45)
    ]

    assert 429 in statuses


def test_o9_a_victim_still_gets_in(limited: Services) -> None:
    """Who locks an account from elsewhere does not lock its user out, nor ends a session."""
    home = "192.0.2.77"
    first = from_address(limited, home, "carol", PASSWORD)
    if first.status_code == httpx2.codes.BAD_REQUEST:
        limited.order("users", "add", "carol", "--password-stdin", given=PASSWORD + "\n")
        first = from_address(limited, home, "carol", PASSWORD)
    assert first.status_code == httpx2.codes.OK

    statuses = guesses(limited, lambda number: f"203.0.113.{100 + number}", lambda _: "carol", 12)
    assert 429 in statuses

    assert from_address(limited, home, "carol", PASSWORD).status_code == httpx2.codes.OK
    assert limited.refresh(first.json()["refresh_token"]).status_code == httpx2.codes.OK


def test_o9_a_right_password_during_a_lock_says_nothing(limited: Services) -> None:
    """From a strange address it is answered as a wrong one."""
    guesses(limited, lambda _: "198.51.100.9", lambda _: "bob", 12)

    right = from_address(limited, "198.51.100.9", "bob", PASSWORD)
    wrong = from_address(limited, "198.51.100.9", "bob", "wrong")

    assert right.status_code == wrong.status_code == httpx2.codes.TOO_MANY_REQUESTS
    assert right.text == wrong.text


# O10 to O15: refresh tokens


def test_o10_a_replay_ends_the_session(services: Services) -> None:
    """Beyond the grace, or after the successor was used: the family is dead."""
    old = session(services)
    new = services.refresh(old["refresh_token"]).json()
    assert services.refresh(new["refresh_token"]).status_code == httpx2.codes.OK

    refused(services.refresh(old["refresh_token"]), 400, "invalid_grant")

    refused(services.refresh(new["refresh_token"]), 400, "invalid_grant")
    assert services.introspect(new["access_token"]) == {"active": False}
    assert services.me(new["access_token"]).status_code == httpx2.codes.UNAUTHORIZED


def test_o10_a_forgery_ends_nothing(services: Services) -> None:
    """Who knows a sid, which is in every access token, must not be able to end the session."""
    good = session(services)
    sid, generation, chain, mac = good["refresh_token"].removeprefix("rt_").split(".")
    swapped = chain[::-1]

    for text in (
        f"rt_{sid}.{generation}.{swapped}.{mac}",
        f"rt_{sid}.{int(generation) + 1}.{chain}.{mac}",
        f"rt_{sid}.0.{swapped}.{mac[::-1]}",
        f"rt_{sid}.99.{chain}.{mac}",
        "rt_" + sid,
        "rt_....",
        good["refresh_token"] + "x",
    ):
        refused(services.refresh(text), 400, "invalid_grant")

    assert services.refresh(good["refresh_token"]).status_code == httpx2.codes.OK


def test_o11_twenty_at_once_leave_one_descendant(services: Services) -> None:
    """All answers within the grace are the same successor, which alone goes on."""
    old = session(services)["refresh_token"]

    with ThreadPoolExecutor(20) as pool:
        answers = list(
            pool.map(
                lambda _: once(
                    services,
                    {"grant_type": "refresh_token", "client_id": "app", "refresh_token": old},
                ),
                range(20),
            )
        )

    assert {answer.status_code for answer in answers} == {200}
    successors = {answer.json()["refresh_token"] for answer in answers}
    assert len(successors) == 1
    assert services.refresh(successors.pop()).status_code == httpx2.codes.OK


def test_o12_a_lost_answer_may_be_asked_for_again(services: Services) -> None:
    """Within the grace, and only until the successor was used."""
    old = session(services)["refresh_token"]
    first = services.refresh(old).json()["refresh_token"]

    assert services.refresh(old).json()["refresh_token"] == first
    assert services.refresh(first).status_code == httpx2.codes.OK
    refused(services.refresh(old), 400, "invalid_grant")


@pytest.mark.parametrize(
    ("form", "error"),
    [
        ({"client_id": "other"}, "unauthorized_client|invalid_grant"),
        ({"client_id": "spa"}, "invalid_grant"),
        ({"scope": "connect api"}, "invalid_scope"),
        ({"scope": "a  b"}, "invalid_scope"),
    ],
)
def test_o13_others_get_nothing_for_it(
    services: Services, form: dict[str, str], error: str
) -> None:
    """Another client, a wider scope; and the token is still good for its owner."""
    token = session(services)["refresh_token"]

    answer = services.refresh(token, **form)

    assert answer.status_code == httpx2.codes.BAD_REQUEST
    assert re.fullmatch(error, answer.json()["error"])
    assert services.refresh(token).status_code == httpx2.codes.OK


def test_o13_a_client_with_a_secret_must_show_it(services: Services) -> None:
    """Its refresh tokens are no use without."""
    answer = services.token(client_id="bot", client_secret=SECRET)
    token = answer.json()["refresh_token"]

    refused(services.refresh(token, client_id="bot"), 401, "invalid_client")
    assert (
        services.refresh(token, client_id="bot", client_secret=SECRET).status_code
        == httpx2.codes.OK
    )


def test_o13_a_disabled_user_is_out(services: Services) -> None:
    """And stays out when enabled again: the sessions have ended."""
    services.order("users", "add", "dora", "--password-stdin", given=PASSWORD + "\n")
    tokens = session(services, username="dora")

    services.order("users", "disable", "dora")
    refused(services.refresh(tokens["refresh_token"]), 400, "invalid_grant")
    assert services.introspect(tokens["access_token"]) == {"active": False}
    services.order("users", "enable", "dora")

    refused(services.refresh(tokens["refresh_token"]), 400, "invalid_grant")
    assert services.token(username="dora").status_code == httpx2.codes.OK


def test_o13_a_changed_password_ends_what_was_before(services: Services) -> None:
    """Log in again in the same second, and it counts."""
    services.order("users", "add", "emil", "--password-stdin", given=PASSWORD + "\n")
    tokens = session(services, username="emil")
    new = "another long password"

    answer = services.http.post(
        "/users/me/password",
        json={"password": PASSWORD, "new_password": new},
        headers={"Authorization": f"Bearer {tokens['access_token']}"},
    )
    again = session(services, username="emil", password=new)

    assert answer.status_code in {200, 204}, answer.text
    refused(services.refresh(tokens["refresh_token"]), 400, "invalid_grant")
    assert services.me(tokens["access_token"]).status_code == httpx2.codes.UNAUTHORIZED
    assert services.me(again["access_token"]).status_code == httpx2.codes.OK


def test_o14_tokens_are_not_taken_for_one_another(services: Services) -> None:
    """An access token does not refresh; a refresh token opens nothing."""
    tokens = session(services)

    refused(services.refresh(tokens["access_token"]), 400, "invalid_grant")
    assert services.me(tokens["refresh_token"]).status_code == httpx2.codes.UNAUTHORIZED
    bearer = b"Authorization: Bearer " + tokens["refresh_token"].encode()
    assert services.handshake(bearer).startswith(b"HTTP/1.1 401 ")


# O16 to O20: clients


@pytest.mark.parametrize(
    ("headers", "form"),
    [
        ({}, {"client_id": "bot", "client_secret": "wrong"}),
        ({}, {"client_id": "bot"}),
        ({}, {"client_id": "nobody", "client_secret": SECRET}),
        ({}, {"client_id": "spa", "client_secret": SECRET}),
        ({}, {"client_id": "' OR 1=1--", "client_secret": SECRET}),
        ({"Authorization": "Basic !!!!"}, {}),
        ({"Authorization": "Basic"}, {}),
        ({"Authorization": "Basic " + base64.b64encode(b"no colon").decode()}, {}),
        ({"Authorization": "Basic " + base64.b64encode(b"bot:%ff").decode()}, {}),
        ({"Authorization": "Bearer x"}, {}),
    ],
)
def test_o16_bad_client_credentials(
    services: Services, headers: dict[str, str], form: dict[str, str]
) -> None:
    """One answer, with the scheme where one was used."""
    answer = services.http.post(
        "/token", data={"grant_type": "client_credentials", **form}, headers=headers
    )

    refused(answer, 401, "invalid_client")
    if headers:
        assert answer.headers["WWW-Authenticate"].startswith("Basic ")


def basic(client_id: str, secret: str) -> str:
    """Write HTTP Basic as RFC 6749 section 2.3.1 has it."""
    pair = f"{quote(client_id, safe='')}:{quote(secret, safe='')}"
    return "Basic " + base64.b64encode(pair.encode()).decode()


def test_o16_a_secret_with_every_character_works(services: Services) -> None:
    """Form-encoded before base64."""
    answer = services.http.post(
        "/token",
        data={"grant_type": "client_credentials"},
        headers={"Authorization": basic("bot", SECRET)},
    )

    assert answer.status_code == httpx2.codes.OK


@pytest.mark.parametrize(
    ("headers", "form"),
    [
        ([("Authorization", basic("bot", SECRET))], {"client_secret": SECRET}),
        ([("Authorization", basic("bot", SECRET))], {"client_id": "app"}),
        ([("Authorization", basic("bot", SECRET))] * 2, {}),
        ([], {"client_secret": SECRET}),
    ],
)
def test_o16_one_method_at_a_time(
    services: Services, headers: list[tuple[str, str]], form: dict[str, str]
) -> None:
    """RFC 6749 section 2.3."""
    answer = services.http.post(
        "/token", data={"grant_type": "client_credentials", **form}, headers=headers
    )

    refused(answer, 400, "invalid_request")


@pytest.mark.parametrize("client_id", ["app", "spa", "device"])
def test_o17_public_clients_are_nobody(services: Services, client_id: str) -> None:
    """Without a proof no tokens of one's own."""
    refused(
        services.token(grant_type="client_credentials", client_id=client_id),
        400,
        "unauthorized_client",
    )


def test_o17_the_password_grant_is_for_those_who_have_it(services: Services) -> None:
    """RFC 9700 section 2.4."""
    refused(services.token(client_id="spa"), 400, "unauthorized_client")


@pytest.mark.parametrize(
    "scope",
    [
        "nonsense",
        "connect nonsense",
        "api",
        "connect introspect",
        "a  b",
        ' "',
        "a\\b",
        "é",
        " connect",
        " ".join(f"s{number}" for number in range(2_000)),
    ],
)
def test_o18_scopes_are_small_and_known(services: Services, scope: str) -> None:
    """Users never get those of services."""
    answer = services.token(scope=scope)

    assert answer.status_code in {400, 413}
    assert answer.json()["error"] in {"invalid_scope", "invalid_request"}


def test_o18_a_scope_said_twice_is_one(services: Services) -> None:
    """A set."""
    assert session(services, scope="connect connect")["scope"] == "connect"


def test_o19_users_and_clients_do_not_clash(services: Services) -> None:
    """A user may be called like a client; the subjects differ."""
    services.order("users", "add", "bot", "--password-stdin", given=PASSWORD + "\n")
    user = services.introspect(session(services, username="bot")["access_token"])
    own = services.http.post(
        "/token", data={"grant_type": "client_credentials"}, auth=("bot", quote(SECRET, safe=""))
    ).json()

    assert services.introspect(own["access_token"])["sub"] == "client:bot"
    assert user["sub"] != "client:bot"
    assert "refresh_token" not in own


def signed(services: Services, assertion: str, **form: str) -> httpx2.Response:
    """Ask for a token with a signed assertion."""
    kind = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer"
    data = {
        "grant_type": "client_credentials",
        "client_assertion_type": kind,
        "client_assertion": assertion,
        **form,
    }
    return services.http.post("/token", data=data)


def test_o20_an_assertion_is_good_once(services: Services) -> None:
    """RFC 7523, by ES256."""
    assertion = services.forge.assertion()

    assert signed(services, assertion).status_code == httpx2.codes.OK
    refused(signed(services, assertion), 401, "invalid_client")


@pytest.mark.parametrize(
    "make",
    [
        lambda forge: forge.assertion(exp=int(time.time()) + 3600),
        lambda forge: forge.assertion(exp=int(time.time()) - 60),
        lambda forge: forge.assertion(exp=...),
        lambda forge: forge.assertion(aud=forge.issuer + "/token"),
        lambda forge: forge.assertion(aud=[forge.issuer]),
        lambda forge: forge.assertion(aud=[forge.issuer, "https://other.example"]),
        lambda forge: forge.assertion(aud=...),
        lambda forge: forge.assertion(iss="bot"),
        lambda forge: forge.assertion(sub="bot"),
        lambda forge: forge.assertion(iss="bot", sub="bot"),
        lambda forge: forge.assertion(jti=...),
        lambda forge: forge.assertion(jti=""),
        lambda forge: forge.assertion({"alg": "HS256"}),
        lambda forge: forge.assertion({"alg": "none"}),
        lambda forge: forge.assertion({"kid": "c2"}),
        lambda forge: forge.assertion({"crit": ["x"]}),
        lambda forge: forge.assertion().rpartition(".")[0] + ".",
        lambda forge: forge.assertion() + "AAAA",
        lambda forge: forge.token(),
        lambda _: "x",
    ],
)
def test_o20_bad_assertions(services: Services, make: Callable[[Any], str]) -> None:
    """Whatever is wrong, the client is unknown."""
    refused(signed(services, make(services.forge)), 401, "invalid_client")


def test_o20_an_assertion_is_no_access_token(services: Services) -> None:
    """J9, the other way round."""
    assertion = services.forge.assertion().encode()

    assert services.handshake(b"Authorization: Bearer " + assertion).startswith(b"HTTP/1.1 401 ")


# O21: authorization codes


class Browser:
    """A browser without scripts: it reads a form and sends it back."""

    def __init__(self, services: Services) -> None:
        self._services = services
        self._http = httpx2.Client(base_url=services.url, trust_env=False)

    def close(self) -> None:
        """End."""
        self._http.close()

    def open(self, **changes: str | None) -> httpx2.Response:
        """Follow a client's link."""
        fields: dict[str, str | None] = {
            "response_type": "code",
            "client_id": "spa",
            "redirect_uri": REDIRECT_URIS[0],
            "code_challenge": CHALLENGE,
            "code_challenge_method": "S256",
            "state": "s",
            **changes,
        }
        return self._http.get(
            "/authorize",
            params={name: value for name, value in fields.items() if value is not None},
        )

    def agree(self, page: httpx2.Response, **changes: str) -> httpx2.Response:
        """Fill the page's form in and send it."""
        fields = {
            html.unescape(name): html.unescape(value)
            for name, value in re.findall(
                r'<input[^>]*type="hidden"[^>]*name="([^"]*)"[^>]*value="([^"]*)"', page.text
            )
        }
        cookie = page.headers["Set-Cookie"].partition(";")[0]
        return self._http.post(
            urlsplit(str(page.url)).path,
            data=fields
            | {"username": "alice", "password": PASSWORD, "decision": "approve"}
            | changes,
            headers={"Origin": self._services.url, "Cookie": cookie},
        )

    def code(self, **changes: str | None) -> str:
        """Get a code."""
        answer = self.agree(self.open(**changes))
        assert answer.status_code == httpx2.codes.SEE_OTHER, answer.text
        query = parse_qs(urlsplit(answer.headers["Location"]).query)
        assert query["iss"] == [self._services.url]
        assert query["state"] == ["s"]
        return query["code"][0]


@pytest.fixture
def browser(services: Services) -> Iterator[Browser]:
    """A browser of alice's."""
    opened = Browser(services)
    yield opened
    opened.close()


def redeem(services: Services, given: str, **changes: str | None) -> httpx2.Response:
    """Exchange a code."""
    fields: dict[str, str | None] = {
        "grant_type": "authorization_code",
        "client_id": "spa",
        "code": given,
        "redirect_uri": REDIRECT_URIS[0],
        "code_verifier": VERIFIER,
        **changes,
    }
    data = {name: value for name, value in fields.items() if value is not None}
    return services.http.post("/token", data=data)


def test_o21_a_code_is_good_once(services: Services, browser: Browser) -> None:
    """And the second use ends what the first one got."""
    code = browser.code()
    tokens = redeem(services, code)
    assert tokens.status_code == httpx2.codes.OK
    assert services.introspect(tokens.json()["access_token"])["active"]

    refused(redeem(services, code), 400, "invalid_grant")

    assert services.introspect(tokens.json()["access_token"]) == {"active": False}


@pytest.mark.parametrize(
    ("changes", "error"),
    [
        ({"code_verifier": None}, "invalid_request|invalid_grant"),
        ({"code_verifier": "w" * 43}, "invalid_grant"),
        ({"code_verifier": "v" * 42}, "invalid_request|invalid_grant"),
        ({"code_verifier": "v" * 129}, "invalid_request|invalid_grant"),
        ({"code_verifier": CHALLENGE}, "invalid_grant"),
        ({"client_id": "other"}, "invalid_grant"),
        ({"redirect_uri": "https://app.example/cb2"}, "invalid_grant"),
        ({"redirect_uri": None}, "invalid_request|invalid_grant"),
        ({"code": "x"}, "invalid_grant"),
        ({"code": None}, "invalid_request"),
    ],
)
def test_o21_a_code_is_bound(
    services: Services, browser: Browser, changes: dict[str, str | None], error: str
) -> None:
    """To its verifier, its client and its address."""
    answer = redeem(services, browser.code(), **changes)

    assert answer.status_code == httpx2.codes.BAD_REQUEST
    assert re.fullmatch(error, answer.json()["error"]), answer.text


@pytest.mark.parametrize(
    "redirect_uri",
    [
        "https://app.example/cb/../x",
        "https://app.example/cb/",
        "https://app.example/cb?x=1",
        "https://app.example:8443/cb",
        "https://app.example.evil.example/cb",
        "https://user@app.example/cb",
        "https://evil.example/cb",
        "http://app.example/cb",
        "HTTPS://app.example/cb",
        "http://127.0.0.1.evil.example/cb",
        "http://localhost/cb",
        "javascript:alert(1)",
        "//app.example/cb",
        "",
    ],
)
def test_o21_other_addresses_are_not_sent_to(browser: Browser, redirect_uri: str) -> None:
    """An error page, no redirect."""
    answer = browser.open(redirect_uri=redirect_uri)

    assert answer.status_code == httpx2.codes.BAD_REQUEST
    assert "Location" not in answer.headers
    assert "text/html" in answer.headers["Content-Type"]


def test_o21_a_loopback_client_chooses_its_port(services: Services, browser: Browser) -> None:
    """RFC 8252 section 7.3: the port may vary, and nothing else."""
    uri = "http://127.0.0.1:49152/cb"

    answer = redeem(services, browser.code(redirect_uri=uri), redirect_uri=uri)

    assert answer.status_code == httpx2.codes.OK


@pytest.mark.parametrize(
    "changes",
    [
        {"code_challenge": None},
        {"code_challenge_method": None},
        {"code_challenge_method": "plain"},
        {"code_challenge": "short"},
        {"response_type": "token"},
        {"response_type": None},
        {"scope": "api"},
        {"scope": "a  b"},
    ],
)
def test_o21_what_else_is_wrong_goes_back_to_the_client(
    browser: Browser, changes: dict[str, str | None]
) -> None:
    """With error, state and iss, to the registered address only."""
    answer = browser.open(**changes)

    assert answer.status_code == httpx2.codes.SEE_OTHER
    location = urlsplit(answer.headers["Location"])
    assert f"{location.scheme}://{location.netloc}{location.path}" == REDIRECT_URIS[0]
    query = parse_qs(location.query)
    assert query["error"][0] in {
        "invalid_request",
        "unsupported_response_type",
        "invalid_scope",
    }
    assert query["state"] == ["s"]


def test_o21_another_sites_form_is_refused(services: Services, browser: Browser) -> None:
    """Without our cookie or from another origin nobody agrees to anything."""
    page = browser.open()
    form = {"username": "alice", "password": PASSWORD, "decision": "approve"}

    foreign = services.http.post(
        "/authorize", data=form, headers={"Origin": "https://evil.example"}
    )
    without = services.http.post("/authorize", data=form, headers={"Origin": services.url})

    assert page.headers["Content-Security-Policy"].find("frame-ancestors 'none'") >= 0
    assert foreign.status_code == without.status_code == httpx2.codes.FORBIDDEN


# O22, devices


def device(services: Services) -> dict[str, Any]:
    """Begin."""
    answer = services.http.post("/device_authorization", data={"client_id": "device"})
    assert answer.status_code == httpx2.codes.OK, answer.text
    return dict(answer.json())


def poll(services: Services, device_code: str, client_id: str = "device") -> httpx2.Response:
    """Ask whether the user has decided."""
    data = {"grant_type": DEVICE, "client_id": client_id, "device_code": device_code}
    return services.http.post("/token", data=data)


def test_o22_a_device_waits_and_is_slowed_down(services: Services) -> None:
    """Who asks too fast is told so."""
    codes = device(services)

    refused(poll(services, codes["device_code"]), 400, "authorization_pending")
    refused(poll(services, codes["device_code"]), 400, "slow_down")


def test_o22_guessed_codes_lead_nowhere(services: Services) -> None:
    """Of devices and of users."""
    refused(poll(services, "x" * 43), 400, "invalid_grant")

    for guess in ("BBBB-BBBB", "'; DROP TABLE users; --", "x" * 1000, "<script>"):
        answer = services.http.get("/device", params={"user_code": guess})
        assert answer.status_code in {200, 400, 404}
        assert "<script>" not in answer.text


def test_o22_another_client_cannot_take_the_token(services: Services) -> None:
    """The code is bound to who asked for it."""
    codes = device(services)

    answer = poll(services, codes["device_code"], client_id="app")

    assert answer.status_code == httpx2.codes.BAD_REQUEST
    assert answer.json()["error"] in {"unauthorized_client", "invalid_grant"}


# O23, O24: revocation and introspection


def revoke(services: Services, token: str, **form: str) -> httpx2.Response:
    """Give a token back."""
    return services.http.post("/revoke", data={"client_id": "app", "token": token, **form})


def test_o23_revocation_says_nothing_about_a_token(services: Services) -> None:
    """200 for unknown, garbage, wrong hints and the second time."""
    tokens = session(services)

    for text in ("unknown", "rt_x", "a.b.c", "x" * 4000):
        assert revoke(services, text).status_code == httpx2.codes.OK
    hint = {"token_type_hint": "access_token"}
    assert revoke(services, tokens["refresh_token"], **hint).status_code == httpx2.codes.OK
    assert revoke(services, tokens["refresh_token"]).status_code == httpx2.codes.OK
    assert services.introspect(tokens["access_token"]) == {"active": False}
    refused(services.refresh(tokens["refresh_token"]), 400, "invalid_grant")


def test_o23_one_access_token_is_revoked_alone(services: Services) -> None:
    """The session goes on."""
    tokens = session(services)

    assert revoke(services, tokens["access_token"]).status_code == httpx2.codes.OK

    assert services.introspect(tokens["access_token"]) == {"active": False}
    assert services.me(tokens["access_token"]).status_code == httpx2.codes.UNAUTHORIZED
    assert services.refresh(tokens["refresh_token"]).status_code == httpx2.codes.OK


def test_o23_another_clients_token_stays(services: Services) -> None:
    """Neither is it revoked, nor is the other told anything."""
    tokens = session(services)

    revoke(services, tokens["refresh_token"], client_id="other")

    assert services.refresh(tokens["refresh_token"]).status_code == httpx2.codes.OK


def test_o23_a_client_must_be_known(services: Services) -> None:
    """GET is no way either."""
    refused(revoke(services, "x", client_id="nobody"), 401, "invalid_client")
    assert services.http.get("/revoke").status_code == httpx2.codes.METHOD_NOT_ALLOWED


def test_o24_introspection_is_for_who_may(services: Services) -> None:
    """Nobody, a public client and one without the scope learn nothing."""
    token = session(services)["access_token"]
    data = {"token": token}

    for form in ({}, {"client_id": "app"}, {"client_id": "bot", "client_secret": "wrong"}):
        answer = services.http.post("/introspect", data=data | form)
        assert answer.status_code in {401, 403}, answer.text
        assert "active" not in answer.text


@pytest.mark.parametrize("token", ["x", "a.b.c", "rt_x", "\u00e9", "x" * 5000])
def test_o24_garbage_is_inactive(services: Services, token: str) -> None:
    """Exactly that, and nothing more."""
    assert services.introspect(token) == {"active": False}


def test_o24_a_megabyte_is_too_much(services: Services) -> None:
    """Refused by its length."""
    answer = services.http.post(
        "/introspect", data={"token": "x" * 1_000_000}, auth=("bot", quote(SECRET, safe=""))
    )

    refused(answer, 413, "invalid_request")


# O25 to O32


@pytest.mark.parametrize(
    "text",
    ["'; DROP TABLE users; --", '" OR ""="', "a\r\nforged: line", "${jndi:ldap://x}", "%s%n"],
)
def test_o25_words_are_words(services: Services, text: str) -> None:
    """In the database and in the log, whose lines stay lines."""
    refused(services.token(username=text), 400, "invalid_grant")
    refused(services.token(client_id=text), 401, "invalid_client")
    refused(services.token(scope=text.replace(" ", "_")), 400, "invalid_scope") if (
        "\r" not in text
    ) else None

    lines = services.auth.log.splitlines()
    assert all(line.startswith("{") for line in lines)
    assert services.token().status_code == httpx2.codes.OK


def test_o26_the_issuer_is_the_configured_one(services: Services) -> None:
    """Whatever the Host header says."""
    answer = services.http.get(
        "/.well-known/oauth-authorization-server",
        headers={"Host": "evil.example", "X-Forwarded-Host": "evil.example", "Forwarded": "host=x"},
    )

    assert answer.json()["issuer"] == services.url
    assert "evil" not in answer.text


@pytest.mark.parametrize("word", ['"quoted"', "back\\slash", "naïve", "<b>", "line\nbreak"])
def test_o27_nothing_is_repeated(services: Services, word: str) -> None:
    """No error text holds what the client sent."""
    for answer in (
        services.token(grant_type=word),
        services.token(client_id=word),
        services.token(scope=word),
        services.token(username=word),
    ):
        assert DESCRIPTION.fullmatch(answer.json().get("error_description", ""))
        assert word not in answer.text


def test_o28_only_keys_and_metadata_may_be_kept(services: Services) -> None:
    """Everything else is no-store."""
    tokens = session(services)
    auth = {"Authorization": f"Bearer {tokens['access_token']}"}

    for path in ("/users/me", "/sessions", "/nothing", "/token"):
        assert services.http.get(path, headers=auth).headers["Cache-Control"] == "no-store"
    for path in ("/.well-known/jwks.json", "/.well-known/oauth-authorization-server"):
        assert "max-age" in services.http.get(path).headers["Cache-Control"]


@pytest.mark.parametrize("path", ["/token", "/revoke", "/introspect", "/users/me", "/session"])
def test_o29_foreign_pages_are_not_let_in(services: Services, path: str) -> None:
    """No preflight of theirs succeeds."""
    answer = services.http.options(
        path,
        headers={
            "Origin": "https://evil.example",
            "Access-Control-Request-Method": "POST",
            "Access-Control-Request-Headers": "authorization",
        },
    )

    assert "Access-Control-Allow-Origin" not in answer.headers
    assert "Access-Control-Allow-Credentials" not in answer.headers


def test_o30_the_key_set_is_public_halves(services: Services) -> None:
    """With the thumbprint as the name of each (RFC 7638)."""
    for key in services.http.get("/.well-known/jwks.json").json()["keys"]:
        assert not key.keys() & {"d", "p", "q", "dp", "dq", "qi", "k", "oth"}
        members = {"EC": ("crv", "kty", "x", "y"), "RSA": ("e", "kty", "n")}[key["kty"]]
        canonical = json.dumps(
            {name: key[name] for name in members}, sort_keys=True, separators=(",", ":")
        )
        digest = hashlib.sha256(canonical.encode()).digest()
        assert key["kid"] == base64.urlsafe_b64encode(digest).rstrip(b"=").decode()


def test_o31_without_its_database_it_says_so(
    tmp_path: Path,
) -> None:
    """503 and when to come again; alive, not ready; and all is well when it is back."""
    server = PostgresServer({}).start()  # with fsync: it is killed
    services = Services(tmp_path, server.url(server.create())).start()
    try:
        services.populate()
        tokens = session(services)
        server.kill()

        for answer in (services.token(), services.refresh(tokens["refresh_token"])):
            assert answer.status_code == httpx2.codes.SERVICE_UNAVAILABLE, answer.text
            assert int(answer.headers["Retry-After"]) >= 1
        assert services.auth.internal.get("/health/ready").status_code == 503
        assert services.auth.internal.get("/health/live").status_code == 200
        assert services.http.get("/.well-known/jwks.json").status_code == httpx2.codes.OK

        server.start()
        deadline = time.monotonic() + 15
        while services.auth.internal.get("/health/ready").status_code != httpx2.codes.OK:
            assert time.monotonic() < deadline
            time.sleep(0.05)
        assert services.refresh(tokens["refresh_token"]).status_code == httpx2.codes.OK
    finally:
        services.stop()
        server.remove()


def test_o32_of_equal_names_one_wins(services: Services) -> None:
    """Twice the same, in another case, in another spelling of Unicode, all at once."""
    names = ["Zo\u00eb", "zoe\u0308", "ZO\u00cb", "Zo\u00eb"]
    done: list[int] = []

    def add(name: str) -> None:
        order = subprocess.run(  # noqa: S603 - our own words only
            [sys.executable, "-m", "auth_service", "users", "add", name, "--password-stdin"],
            env=services.auth.environment,
            input=PASSWORD + "\n",
            capture_output=True,
            text=True,
            check=False,
            timeout=60,
        )
        done.append(order.returncode)

    threads = [threading.Thread(target=add, args=(name,)) for name in names]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert sorted(done) == [0, 1, 1, 1]
