"""The documentation page."""

from __future__ import annotations

import base64
import hashlib
import re
from collections.abc import AsyncIterator, Callable
from typing import Any

import httpx2
import pytest
from fastapi import FastAPI
from fastapi.routing import iter_route_contexts

from auth_service.app import Service, create_app, create_internal_app
from auth_service.clients import hash_secret
from auth_service.exceptions import Overloaded, StoreUnavailable, TooManyAttempts
from auth_service.routes.docs import render
from tests.auth_service.conftest import Login


async def test_the_page_shows_every_operation_and_loads_nothing(http: httpx2.AsyncClient) -> None:
    """No CDN, no script; the style is allowed by its hash."""
    document = (await http.get("/openapi.json")).json()
    answer = await http.get("/docs")

    for path in document["paths"]:
        assert path in answer.text
    assert "grant_type" in answer.text
    assert "<script" not in answer.text
    assert "http://" not in answer.text
    assert "https://" not in answer.text
    style = re.search("<style>(.*?)</style>", answer.text)
    assert style is not None
    digest = base64.b64encode(hashlib.sha256(style[1].encode()).digest()).decode()
    policy = answer.headers["Content-Security-Policy"]
    assert policy == (f"default-src 'none'; style-src 'sha256-{digest}'; frame-ancestors 'none'")


def test_words_of_the_document_are_escaped() -> None:
    """A description is text, whatever it holds."""
    page = render(
        {
            "info": {"title": "<b>", "description": "<script>"},
            "paths": {"/<i>": {"get": {"responses": {"200": {"description": "<u>"}}}}},
        }
    )

    for tag in ("<b>", "<script>", "<i>", "<u>"):
        assert tag not in page


_METHODS = frozenset({"GET", "POST", "PUT", "PATCH", "DELETE"})
_FORM = "application/x-www-form-urlencoded"


def _operations(app: FastAPI) -> dict[tuple[str, str], dict[str, Any]]:
    """Return what the document says of each method and path."""
    return {
        (method.upper(), path): operation
        for path, methods in app.openapi()["paths"].items()
        for method, operation in methods.items()
    }


def _requests(token: str) -> list[dict[str, Any]]:
    """Return bodies and headers of all kinds, good for some operations and bad for all others."""
    own = {"Origin": "https://localhost:8443"}
    known = {"Authorization": f"Bearer {token}"}
    basic = {"Authorization": "Basic Ym90Ondyb25n"}
    right = {"Authorization": "Basic Ym90OnJpZ2h0"}
    password = {"username": "alice", "password": "wrong", "current_password": "wrong"}
    form = {
        "grant_type": "password",
        "client_id": "chat",
        "token": token,
        "scope": "connect",
        "new_password": "another good password",
        "user_code": "WDJB-MJHT",
        **password,
    }
    return [
        {},
        {"headers": own},
        {"headers": {**own, **known}},
        {"headers": {"Authorization": "Bearer rubbish", **own}},
        {"data": form},
        {"data": form, "headers": own},
        {"data": form, "headers": {**own, **known}},
        {"data": {**form, "grant_type": "magic"}, "headers": {**own, **basic}},
        {"json": password, "headers": {**own, **known}},
        {"json": {"password": "wrong"}, "headers": {**own, **known}},
        {
            "json": {"password": "wrong", "new_password": "another good phrase"},
            "headers": {**own, **known},
        },
        {"data": {"grant_type": "client_credentials", "token": token}, "headers": basic},
        {"data": {"grant_type": "client_credentials", "token": "x"}, "headers": right},
        {"json": [], "headers": {**own, **known}},
        {"content": b"x" * 20_000, "headers": {**own, **known, "Content-Type": _FORM}},
        {
            "content": b"x" * 20_000,
            "headers": {**own, **known, "Content-Type": "application/json"},
        },
        {"content": b"<x/>", "headers": {**own, **known, "Content-Type": "text/xml"}},
        {"cookies": {"__Secure-drawbridge-refresh": "rt_x", "__Host-drawbridge": token}},
        {"cookies": {"__Secure-drawbridge-refresh": "rt_x"}, "headers": own},
    ]


async def _troubles(service: Service, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[str]:
    """Let the service be well, then too busy, then refuse by a limit, then lose its database."""

    async def busy(*_: object, **__: object) -> None:
        raise Overloaded

    async def limited(*_: object, **__: object) -> None:
        raise TooManyAttempts(retry_after_seconds=7)

    def lost(*_: object, **__: object) -> None:
        raise StoreUnavailable

    yield "well"
    with monkeypatch.context() as patch:
        patch.setattr(service.hasher, "_admit", busy)
        yield "busy"
    with monkeypatch.context() as patch:
        patch.setattr(service.limits, "check", limited)
        patch.setattr(service.limits, "begin_login", limited)
        yield "limited"
    with monkeypatch.context() as patch:
        patch.setattr(service.database, "read", lost)
        patch.setattr(service.database, "write", lost)
        yield "lost"


@pytest.mark.parametrize("create", [create_app, create_internal_app])
async def test_every_answer_is_one_the_document_knows(
    create: Callable[[Service], FastAPI],
    service: Service,
    login: Login,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Status and media type, for good and bad requests, when all is well and when it is not."""
    token = (await login()).json()["access_token"]
    await service.registration.add(
        "bot", grants=["client_credentials"], scope="introspect", secret_hash=hash_secret("right")
    )
    app = create(service)
    seen: set[int] = set()
    lies = []
    async for trouble in _troubles(service, monkeypatch):
        transport = httpx2.ASGITransport(app)
        for (method, path), operation in _operations(app).items():
            for request in _requests(token):
                # A client each time: cookies of one answer are no part of the next question.
                async with httpx2.AsyncClient(
                    transport=transport, base_url="https://localhost"
                ) as client:
                    client.cookies.update(request.get("cookies", {}))
                    sent = {name: part for name, part in request.items() if name != "cookies"}
                    answer = await client.request(method, path.replace("{sid}", "sid"), **sent)
                documented = operation["responses"].get(str(answer.status_code))
                media_type = answer.headers.get("Content-Type", "").partition(";")[0]
                known = documented is not None and media_type in (
                    documented.get("content") or {"": None}
                )
                if not known:
                    lies.append((trouble, method, path, answer.status_code, media_type))
                elif answer.status_code >= 400 and media_type == "application/json":
                    assert answer.json().keys() >= {"error"} or path.startswith("/health")
                    assert (answer.status_code in {429, 503}) == (
                        "Retry-After" in answer.headers
                    ) or (path.startswith("/health"))
                seen.add(answer.status_code)

    assert sorted(set(lies)) == []
    assert 200 in seen


@pytest.mark.parametrize("create", [create_app, create_internal_app])
async def test_every_route_is_in_the_document(
    create: Callable[[Service], FastAPI], service: Service
) -> None:
    """Only pages and their files, and the documents themselves, are not."""
    app = create(service)
    schema = {path for _, path in _operations(app)}
    found = {
        route.path
        for route in iter_route_contexts(app.routes)
        if set(getattr(route, "methods", None) or ()) & _METHODS
    }

    assert found - schema <= {"/openapi.json", "/docs", "/login", "/static/auth/{name}"}
    assert schema <= found
