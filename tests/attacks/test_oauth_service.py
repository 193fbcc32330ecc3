"""O25 to O32: what the service says of itself, and what it keeps to itself."""

from __future__ import annotations

import base64
import hashlib
import json
import subprocess
import sys
import threading
import time
from pathlib import Path

import httpx2
import pytest

from tests.attacks.running import PASSWORD, Services
from tests.attacks.token_requests import DESCRIPTION, refused, session
from tests.postgres_server import PostgresServer

pytestmark = pytest.mark.integration


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
