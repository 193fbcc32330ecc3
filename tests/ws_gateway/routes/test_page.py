"""``GET /`` and ``/static/gateway/*``."""

from __future__ import annotations

import json
import re
import time
from collections.abc import Iterator
from importlib.resources import files

import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from fastapi import FastAPI
from jose import jwk, jwt
from jose.backends.base import Key
from starlette.testclient import TestClient

from ws_gateway.bearer import Issuer, Verifier
from ws_gateway.routes import page

ORIGIN = "https://app.example.com"
KEY: Key = jwk.construct(ec.generate_private_key(ec.SECP256R1()), "ES256")  # type: ignore[arg-type]
ISSUER = Issuer(
    issuer="https://issuer.example", jwks_url="https://issuer.example/k", audience="drawbridge"
)


def mint(**changes: object) -> str:
    """Return a token of the issuer, with these claims changed."""
    now = int(time.time())
    claims = {
        "iss": ISSUER.issuer,
        "aud": ["drawbridge"],
        "exp": now + 600,
        "iat": now,
        "jti": "token-1",
        "sub": "alice",
        "client_id": "chat",
        "scope": "connect",
    }
    headers = {"typ": "at+jwt", "kid": "k"}
    return jwt.encode(claims | changes, KEY, algorithm="ES256", headers=headers)


@pytest.fixture
def http() -> Iterator[TestClient]:
    """A client of an application with the page, and of a key set that is always there."""

    async def fetch(_: str) -> bytes:
        key = KEY.public_key().to_dict()
        return json.dumps({"keys": [key | {"kid": "k", "use": "sig", "alg": "ES256"}]}).encode()

    app = FastAPI()
    app.state.verifier = Verifier([ISSUER], origins=[ORIGIN], fetch=fetch)
    app.include_router(page.create_router())
    with TestClient(app, base_url="https://testserver", follow_redirects=False) as client:
        yield client


def _cookie(token: str) -> dict[str, str]:
    return {"Cookie": f"__Host-drawbridge={token}"}


def test_who_has_logged_in_sees_the_page(http: TestClient) -> None:
    """Nothing inline, from elsewhere or around it; no cache keeps it."""
    answer = http.get("/", headers=_cookie(mint()))

    assert answer.status_code == 200
    assert answer.headers["Content-Type"] == "text/html; charset=utf-8"
    policy = answer.headers["Content-Security-Policy"]
    assert "default-src 'self'" in policy
    assert "frame-ancestors 'none'" in policy
    assert "unsafe" not in policy
    assert answer.headers["X-Content-Type-Options"] == "nosniff"
    assert answer.headers["X-Frame-Options"] == "DENY"
    assert answer.headers["Referrer-Policy"] == "no-referrer"
    assert answer.headers["Cache-Control"] == "no-store"
    assert not re.search(r"<style|<script(?![^>]* src=)| on\w+=|https?:", answer.text)


@pytest.mark.parametrize(
    "headers",
    [
        {},
        _cookie(""),
        _cookie("x"),
        _cookie(mint(exp=int(time.time()) - 60, iat=int(time.time()) - 660)),
        _cookie(mint(iss="https://evil.example")),
        _cookie(mint()[:-2] + "xx"),
        {"Cookie": f"__Host-drawbridge={mint()}; __Host-drawbridge={mint()}"},
        {"Cookie": f"drawbridge={mint()}"},
    ],
)
def test_others_are_shown_the_way(http: TestClient, headers: dict[str, str]) -> None:
    """No cookie, a forged, an expired or a doubled one: 303, which no cache keeps either."""
    answer = http.get("/", headers=headers)

    assert (answer.status_code, answer.headers["Location"]) == (303, "/login")
    assert answer.headers["Cache-Control"] == "no-store"


def test_what_the_page_loads_is_there(http: TestClient) -> None:
    """Each file, also what the scripts import, with its right type, without logging in."""
    names = re.findall(r'"/static/gateway/([^"]+)"', http.get("/", headers=_cookie(mint())).text)
    script = http.get("/static/gateway/main.js").text
    names += re.findall(r'from "\./([^"]+)"', script)
    types = {"css": "text/css", "js": "text/javascript", "svg": "image/svg+xml"}

    assert len(set(names)) == 7
    for name in names:
        answer = http.get(f"/static/gateway/{name}")
        assert answer.status_code == 200
        assert answer.headers["Content-Type"].partition(";")[0] == types[name.rpartition(".")[2]]
        assert answer.headers["X-Content-Type-Options"] == "nosniff"


def test_a_file_that_did_not_change_is_not_sent_again(http: TestClient) -> None:
    """RFC 9110 section 13.1.2."""
    first = http.get("/static/gateway/main.js")
    etag = first.headers["ETag"]

    again = http.get("/static/gateway/main.js", headers={"If-None-Match": f"W/{etag}"})

    assert first.headers["Cache-Control"] == "no-cache"
    assert (again.status_code, again.content, again.headers["ETag"]) == (304, b"", etag)


@pytest.mark.parametrize(
    "name",
    ["none.js", "index.html", "..%2fsettings.py", "../settings.py", "/etc/passwd", "", "a/b"],
)
def test_nothing_else_is_served(http: TestClient, name: str) -> None:
    """The files are known from the start; a path only chooses among them."""
    assert http.get(f"/static/gateway/{name}").status_code == 404


def test_a_script_cannot_make_markup_of_text() -> None:
    """The sinks of script injection do not occur at all."""
    for entry in (files("ws_gateway") / "static").iterdir():
        if entry.name.endswith(".js"):
            text = entry.read_text("utf-8")
            assert not re.search(r"innerHTML|outerHTML|insertAdjacent|document\.write|eval\(", text)
