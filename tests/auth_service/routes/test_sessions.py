"""``/sessions``."""

from __future__ import annotations

import httpx2
import pytest

from auth_service.app import Service
from auth_service.models import User
from tests.auth_service.conftest import Login


@pytest.fixture
async def tokens(login: Login) -> list[str]:
    """Access tokens of three sessions of alice's."""
    return [(await login()).json()["access_token"] for _ in range(3)]


def _bearer(token: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {token}"}


async def test_a_user_sees_where_he_is_logged_in(
    service: Service, http: httpx2.AsyncClient, tokens: list[str], password: str, now: float
) -> None:
    """His own sessions, the present one marked; no token, and no hash of one."""
    await service.accounts.add("bob", password)

    answer = await http.get("/sessions", headers=_bearer(tokens[1]))

    sessions = answer.json()["sessions"]
    present = service.tokens.read(tokens[1], now=now).sid
    assert [session["sid"] for session in sessions if session["current"]] == [present]
    assert len(sessions) == 3
    assert sessions[0].keys() == {
        *("sid", "client_id", "kind", "scope", "created_at", "used_at", "expires_at"),
        *("address", "user_agent", "current"),
    }
    assert (sessions[0]["address"], sessions[0]["kind"]) == ("127.0.0.1", "password")


async def test_a_session_is_ended_by_its_id(
    service: Service, http: httpx2.AsyncClient, tokens: list[str], now: float
) -> None:
    """Once; its access token is refused at once."""
    sid = service.tokens.read(tokens[0], now=now).sid

    answers = [
        (await http.delete(f"/sessions/{sid}", headers=_bearer(tokens[1]))).status_code
        for _ in range(2)
    ]

    assert answers == [204, 404]
    assert (await http.get("/sessions", headers=_bearer(tokens[0]))).status_code == 401
    left = (await http.get("/sessions", headers=_bearer(tokens[1]))).json()["sessions"]
    assert len(left) == 2


async def test_others_sessions_do_not_exist(
    service: Service, http: httpx2.AsyncClient, tokens: list[str], login: Login, password: str
) -> None:
    """One answer for another user's and for none."""
    await service.accounts.add("bob", password)
    bob = (await login(username="bob")).json()["access_token"]
    sid = service.tokens.read(tokens[0], now=service.clock()).sid

    for path in (f"/sessions/{sid}", "/sessions/unknown", "/sessions/%00"):
        answer = await http.delete(path, headers=_bearer(bob))
        assert (answer.status_code, answer.json()["error"]) == (404, "not_found")


@pytest.mark.parametrize("form", [True, False])
async def test_all_sessions_end_with_the_current_password_only(
    http: httpx2.AsyncClient, tokens: list[str], password: str, form: bool
) -> None:
    """A found token is not enough to lock its user out."""

    async def send(**members: str) -> httpx2.Response:
        return await http.request(
            "DELETE",
            "/sessions",
            headers=_bearer(tokens[0]),
            data=members if form else None,
            json=None if form else members,
        )

    wrong = await send(password="wrong")
    missing = await send(other="x")
    right = await send(password=password)

    assert (wrong.status_code, wrong.json()["error"]) == (400, "invalid_grant")
    assert (missing.status_code, missing.json()["error"]) == (400, "invalid_request")
    assert right.status_code == 204
    for token in tokens:
        assert (await http.get("/users/me", headers=_bearer(token))).status_code == 401


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("GET", "/sessions"),
        ("DELETE", "/sessions"),
        ("DELETE", "/sessions/x"),
        ("POST", "/users/me/password"),
    ],
)
async def test_the_cookie_does_not_count(
    http: httpx2.AsyncClient, tokens: list[str], method: str, path: str
) -> None:
    """Any page can make a browser send it."""
    http.cookies.set("__Host-drawbridge", tokens[0])

    answer = await http.request(method, path, json={})

    assert answer.status_code == 401
    assert answer.headers["WWW-Authenticate"] == 'Bearer realm="drawbridge"'


async def test_a_service_has_no_sessions(service: Service, http: httpx2.AsyncClient) -> None:
    """Its token is a good one, but no user's."""
    await service.registration.add("robot", secret_hash="x", grants=frozenset(), scope="api")
    token = service.tokens.mint(
        sub="client:robot", client_id="robot", scopes=["api"], sid="s", now=service.clock()
    ).text

    assert (await http.get("/sessions", headers=_bearer(token))).status_code == 401


async def test_a_disabled_users_token_opens_nothing(
    service: Service, http: httpx2.AsyncClient, tokens: list[str], alice: User
) -> None:
    """At once."""
    await service.administration.disable_user(alice.id)

    assert (await http.get("/sessions", headers=_bearer(tokens[0]))).status_code == 401
