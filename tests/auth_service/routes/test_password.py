"""``POST /users/me/password``."""

from __future__ import annotations

import httpx2
import pytest

from tests.auth_service.conftest import Login

NEW = "a better horse, a longer battery"


async def _change(http: httpx2.AsyncClient, token: str, **members: str) -> httpx2.Response:
    headers = {"Authorization": f"Bearer {token}"}
    return await http.post("/users/me/password", json=members, headers=headers)


async def test_a_new_password_ends_all_sessions(
    http: httpx2.AsyncClient, login: Login, password: str
) -> None:
    """The old one opens nothing any more, nor does any token from before."""
    body = (await login()).json()
    other = (await login()).json()

    answer = await _change(http, body["access_token"], password=password, new_password=NEW)

    assert (answer.status_code, answer.content) == (204, b"")
    assert (await login()).json()["error"] == "invalid_grant"
    for one in (body, other):
        headers = {"Authorization": f"Bearer {one['access_token']}"}
        assert (await http.get("/users/me", headers=headers)).status_code == 401
        refreshed = await login(grant_type="refresh_token", refresh_token=one["refresh_token"])
        assert refreshed.json()["error"] == "invalid_grant"
    fresh = (await login(password=NEW)).json()["access_token"]
    headers = {"Authorization": f"Bearer {fresh}"}
    assert (await http.get("/users/me", headers=headers)).status_code == 200


@pytest.mark.parametrize(
    ("changes", "error"),
    [
        ({"password": "wrong"}, "invalid_grant"),
        ({"password": "x" * 300}, "invalid_request"),
        ({"new_password": "short"}, "invalid_request"),
        ({"new_password": "x" * 300}, "invalid_request"),
        ({"new_password": "correct horse battery staple"}, "invalid_request"),
        ({"new_password": ""}, "invalid_request"),
    ],
)
async def test_a_refusal_changes_nothing(
    http: httpx2.AsyncClient,
    login: Login,
    password: str,
    changes: dict[str, str],
    error: str,
) -> None:
    """Wrong, weak, equal or missing."""
    token = (await login()).json()["access_token"]

    members = {"password": password, "new_password": NEW} | changes
    answer = await _change(http, token, **members)

    assert (answer.status_code, answer.json()["error"]) == (400, error)
    assert (await login()).status_code == 200
