"""Who may use the server API."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import replace
from typing import cast

import pytest
from fastapi import HTTPException
from starlette.requests import Request

from tests.ws_gateway.conftest import Tokens
from ws_gateway.api.access import Access
from ws_gateway.credentials import Credentials
from ws_gateway.exceptions import KeysUnavailable, SessionEnded, TokenExpired, TokenRevoked
from ws_gateway.verifier import Verifier

KEY = "k" * 32
ISSUER = "https://issuer.example"


@pytest.fixture
def tokens(make_credentials: Callable[..., Credentials]) -> Tokens:
    """What is known of some tokens."""
    service = make_credentials(
        "client:shop",
        subject="client:shop",
        client_id="shop",
        scopes=frozenset({"api", "introspect"}),
    )
    tokens = Tokens()
    tokens.known = {
        "service": service,
        "prefixed": replace(service, user="one.client:shop"),
        "without-scope": replace(service, scopes=frozenset({"connect"})),
        "user": make_credentials("alice", subject="alice", scopes=frozenset({"connect", "api"})),
        "pretender": replace(service, subject="client:other"),
        "elsewhere": replace(service, issuer="https://another.example"),
        "own-secret": replace(service, issuer=""),
        "expired": TokenExpired(),
        "revoked": TokenRevoked(),
        "ended": SessionEnded(),
        "unknown": KeysUnavailable(),
    }
    return tokens


Enter = Callable[..., Awaitable[str]]


@pytest.fixture
def enter(tokens: Tokens) -> Enter:
    """Come to the door with headers; returns who comes in."""

    async def enter(
        *headers: tuple[str, str], key: str | None = KEY, scope: str = "api", query: bytes = b""
    ) -> str:
        access = Access(key=key, scopes={ISSUER: scope}, verifier=cast("Verifier", tokens))
        raw = [(name.lower().encode(), value.encode("latin-1")) for name, value in headers]
        request = Request({"type": "http", "headers": raw, "query_string": query})
        await access(request)
        return str(request.state.caller)

    return enter


async def refused(entering: Awaitable[str]) -> int:
    """Return the status of a refusal, which says how to do better."""
    with pytest.raises(HTTPException) as raised:
        await entering
    if raised.value.status_code in {401, 403}:
        assert raised.value.headers is not None
        assert raised.value.headers["WWW-Authenticate"].startswith("Bearer ")
    assert KEY not in raised.value.detail
    return raised.value.status_code


async def test_the_key_opens(enter: Enter) -> None:
    """In its own header, or as Centrifugo's documentation has it."""
    assert await enter(("X-API-Key", KEY)) == "key"
    assert await enter(("Authorization", f"apikey {KEY}")) == "key"


@pytest.mark.parametrize("key", ["", "k", KEY + "k", KEY.upper(), " " + KEY, "k\xe4" * 16])
async def test_another_key_does_not(enter: Enter, key: str) -> None:
    """Whatever is in it."""
    assert await refused(enter(("X-API-Key", key))) == 401
    assert await refused(enter(("Authorization", f"apikey {key}"))) == 401


async def test_a_service_s_token_opens(enter: Enter) -> None:
    """And names the client in the log."""
    for token in ("service", "prefixed"):
        assert await enter(("Authorization", f"Bearer {token}")) == "shop"


@pytest.mark.parametrize(
    ("token", "status"),
    [
        ("user", 403),
        ("pretender", 403),
        ("without-scope", 403),
        ("elsewhere", 403),
        ("own-secret", 403),
        ("expired", 401),
        ("revoked", 401),
        ("ended", 401),
        ("nonsense", 401),
        ("", 401),
        ("unknown", 503),
    ],
)
async def test_another_token_does_not(enter: Enter, token: str, status: int) -> None:
    """A user's never, whatever its scope; nor another issuer's."""
    assert await refused(enter(("Authorization", f"Bearer {token}"))) == status


async def test_nothing_two_things_or_another_scheme_do_not(enter: Enter) -> None:
    """Nor a key in the URL, where every hop's log would have it."""
    key, bearer = ("X-API-Key", KEY), ("Authorization", "Bearer service")

    assert await refused(enter()) == 401
    assert await refused(enter(query=f"api_key={KEY}".encode())) == 401
    assert await refused(enter(key, bearer)) == 401
    assert await refused(enter(key, key)) == 401
    assert await refused(enter(("Authorization", f"Basic {KEY}"))) == 401
    assert await refused(enter(("Authorization", KEY))) == 401


async def test_what_is_not_configured_does_not_open(enter: Enter) -> None:
    """No key is no empty key, and no scope is no token without one."""
    assert await refused(enter(("X-API-Key", ""), key=None)) == 401
    assert await refused(enter(("Authorization", "apikey None"), key=None)) == 401
    assert await refused(enter(("Authorization", "Bearer service"), scope="")) == 403
