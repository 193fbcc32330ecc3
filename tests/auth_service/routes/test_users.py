"""``GET /users/me``."""

from __future__ import annotations

from collections.abc import Callable

import httpx2
import pytest

from auth_service.app import Service
from auth_service.models import User
from auth_service.store import users
from tests.auth_service.conftest import Login

Mint = Callable[..., str]


@pytest.fixture
async def mint(service: Service, login: Login, alice: User, now: float) -> Mint:
    """Make a token for a session of alice, or for another subject, at another time."""
    session = service.tokens.read((await login()).json()["access_token"], now=now).sid

    def make(*, sub: str = alice.id, at: float = now, sid: str = session) -> str:
        return service.tokens.mint(
            sub=sub, client_id="chat", scopes=["connect"], sid=sid, now=at
        ).text

    return make


async def _get(http: httpx2.AsyncClient, token: str, scheme: str = "Bearer") -> httpx2.Response:
    return await http.get("/users/me", headers={"Authorization": f"{scheme} {token}"})


def _assert_invalid(answer: httpx2.Response) -> None:
    assert (answer.status_code, answer.json()["error"]) == (401, "invalid_token")
    assert 'error="invalid_token"' in answer.headers["WWW-Authenticate"]
    assert answer.headers["WWW-Authenticate"].startswith('Bearer realm="drawbridge"')
    assert answer.headers["Cache-Control"] == "no-store"


async def test_a_token_names_its_user(http: httpx2.AsyncClient, alice: User, mint: Mint) -> None:
    """In the header, with the scheme in any case, or in the session's cookie."""
    expected = {"sub": alice.id, "username": "alice", "scope": "connect"}

    for scheme in ("Bearer", "bearer", "BEARER"):
        assert (await _get(http, mint(), scheme)).json() == expected
    http.cookies.set("__Host-drawbridge", mint())
    assert (await http.get("/users/me")).json() == expected


async def test_no_credentials_get_a_bare_challenge(http: httpx2.AsyncClient, mint: Mint) -> None:
    """RFC 6750 section 3.1; a token in the query or of another scheme is none."""
    for answer in (
        await http.get("/users/me"),
        await http.get(f"/users/me?access_token={mint()}"),
        await _get(http, mint(), "Basic"),
        await _get(http, mint(), "Bearer,"),
    ):
        assert answer.status_code == 401
        assert answer.headers["WWW-Authenticate"] == 'Bearer realm="drawbridge"'


@pytest.mark.parametrize(
    "token", ["", "x", "a.b.c", "Bearer x", "\u00e4".encode().decode("latin-1"), "A" * 5000]
)
async def test_a_bad_token_is_invalid(http: httpx2.AsyncClient, token: str) -> None:
    """RFC 6750 section 3.1."""
    header = f"Bearer {token}".encode("latin-1")

    _assert_invalid(await http.get("/users/me", headers=[(b"Authorization", header)]))


async def test_an_expired_or_altered_token_is_invalid(
    http: httpx2.AsyncClient, mint: Mint, now: float
) -> None:
    """Expired, from the future, cut, with a flipped bit."""
    token = mint()

    _assert_invalid(await _get(http, mint(at=now - 605)))
    _assert_invalid(await _get(http, mint(at=now + 60)))
    _assert_invalid(await _get(http, token[:-1]))
    _assert_invalid(
        await _get(http, token[:100] + ("A" if token[100] != "A" else "B") + token[101:])
    )


async def test_the_header_beats_the_cookie(http: httpx2.AsyncClient, mint: Mint) -> None:
    """A bad header is not rescued by a good cookie."""
    http.cookies.set("__Host-drawbridge", mint())

    _assert_invalid(await _get(http, "x"))


async def test_two_headers_are_one_too_many(http: httpx2.AsyncClient, mint: Mint) -> None:
    """RFC 6750 section 3.1: invalid_request."""
    value = f"Bearer {mint()}"
    answer = await http.get(
        "/users/me", headers=[("Authorization", value), ("Authorization", value)]
    )

    assert (answer.status_code, answer.json()["error"]) == (400, "invalid_request")


async def test_who_is_gone_or_disabled_is_nobody(
    service: Service, http: httpx2.AsyncClient, alice: User, mint: Mint
) -> None:
    """A good signature is not enough; nor is a service a user, or a session unknown here."""
    _assert_invalid(await _get(http, mint(sid="unknown")))
    _assert_invalid(await _get(http, mint(sub="nobody")))
    _assert_invalid(await _get(http, mint(sub="client:chat")))

    async with service.database.write() as connection:
        await users.set_disabled(connection, alice.id, disabled=True)

    _assert_invalid(await _get(http, mint()))
