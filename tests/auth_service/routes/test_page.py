"""``GET /login`` and ``/static/auth/*``."""

from __future__ import annotations

import re
from importlib.resources import files

import httpx2
import pytest


async def test_the_page_runs_nothing_but_its_own_files(http: httpx2.AsyncClient) -> None:
    """Its policy forbids anything inline, from elsewhere and around it; no cache keeps it."""
    answer = await http.get("/login")

    assert answer.status_code == 200
    assert answer.headers["Content-Type"] == "text/html; charset=utf-8"
    policy = answer.headers["Content-Security-Policy"]
    assert "default-src 'self'" in policy
    assert "frame-ancestors 'none'" in policy
    assert "unsafe" not in policy
    assert answer.headers["X-Content-Type-Options"] == "nosniff"
    assert answer.headers["Referrer-Policy"] == "no-referrer"
    assert answer.headers["Cache-Control"] == "no-store"
    assert not re.search(r"<style|<script(?![^>]* src=)| on\w+=|https?:", answer.text)


async def test_a_password_manager_finds_its_way(http: httpx2.AsyncClient) -> None:
    """The fields say what they are, and the form could never put them into an address."""
    text = (await http.get("/login")).text

    assert 'autocomplete="username"' in text
    assert 'autocomplete="current-password"' in text
    assert 'method="post"' in text


async def test_what_the_page_loads_is_there(http: httpx2.AsyncClient) -> None:
    """Each file with its right type, since browsers are told not to guess."""
    names = re.findall(r'"(/static/auth/[^"]+)"', (await http.get("/login")).text)
    types = {"css": "text/css", "js": "text/javascript", "svg": "image/svg+xml"}

    assert len(set(names)) == 3
    for name in names:
        answer = await http.get(name)
        assert answer.status_code == 200
        assert answer.headers["Content-Type"].partition(";")[0] == types[name.rpartition(".")[2]]
        assert answer.headers["X-Content-Type-Options"] == "nosniff"


async def test_a_file_that_did_not_change_is_not_sent_again(http: httpx2.AsyncClient) -> None:
    """RFC 9110 section 13.1.2; also in the weak form that proxies make of it."""
    first = await http.get("/static/auth/login.css")
    etag = first.headers["ETag"]

    assert first.headers["Cache-Control"] == "no-cache"
    for value in (etag, f"W/{etag}", f'"x", {etag}'):
        again = await http.get("/static/auth/login.css", headers={"If-None-Match": value})
        assert (again.status_code, again.content) == (304, b"")
        assert again.headers["ETag"] == etag
    changed = await http.get("/static/auth/login.css", headers={"If-None-Match": '"x"'})
    assert changed.content == first.content


@pytest.mark.parametrize(
    "name",
    [
        "none.js",
        "login.html",
        "..%2fsettings.py",
        "../settings.py",
        "%2e%2e/settings.py",
        "/etc/passwd",
        "",
        "sub/login.css",
    ],
)
async def test_nothing_else_is_served(http: httpx2.AsyncClient, name: str) -> None:
    """The files are known from the start; a path only chooses among them."""
    assert (await http.get(f"/static/auth/{name}")).status_code == 404


async def test_a_script_cannot_make_markup_of_text() -> None:
    """The sinks of script injection do not occur at all."""
    for entry in (files("auth_service") / "static").iterdir():
        if entry.name.endswith(".js"):
            text = entry.read_text("utf-8")
            assert not re.search(r"innerHTML|outerHTML|insertAdjacent|document\.write|eval\(", text)
