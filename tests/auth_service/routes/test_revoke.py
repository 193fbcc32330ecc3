"""``POST /revoke``."""

from __future__ import annotations

import httpx2
import pytest

from auth_service.app import Service
from auth_service.clients import hash_secret
from tests.auth_service.conftest import Login


@pytest.mark.parametrize("hint", [None, "access_token", "refresh_token", "nonsense"])
@pytest.mark.parametrize("kind", ["access_token", "refresh_token"])
async def test_a_token_is_good_no_more_whatever_the_hint(
    login: Login, http: httpx2.AsyncClient, kind: str, hint: str | None
) -> None:
    """Twice is as good as once (O23)."""
    body = (await login()).json()
    form = {"token": body[kind]} | ({"token_type_hint": hint} if hint else {})

    answers = [await http.post("/revoke", data=form) for _ in range(2)]

    assert [(answer.status_code, answer.content) for answer in answers] == [(200, b"")] * 2
    assert answers[0].headers["Cache-Control"] == "no-store"
    header = {"Authorization": f"Bearer {body['access_token']}"}
    assert (await http.get("/users/me", headers=header)).status_code == 401


async def test_an_unknown_token_is_200(http: httpx2.AsyncClient, login: Login) -> None:
    """Nobody learns what is known here."""
    await login()
    for token in ("unknown", "a.b.c", "rt_x.1.y.z", "x" * 10_000):
        assert (await http.post("/revoke", data={"token": token})).status_code == 200


async def test_who_asks_must_be_known_and_the_tokens_owner(
    service: Service, http: httpx2.AsyncClient, login: Login
) -> None:
    """Client authentication as at /token (O23)."""
    await service.registration.add(
        "app", secret_hash=hash_secret("s3cret"), grants=frozenset(), scope="connect"
    )
    body = (await login()).json()
    form = {"token": body["refresh_token"]}

    bare = await http.post("/revoke", data={**form, "client_id": "app"})
    other = await http.post("/revoke", data=form, auth=("app", "s3cret"))
    missing = await http.post("/revoke", data={})

    assert (bare.status_code, bare.json()["error"]) == (401, "invalid_client")
    assert (other.status_code, other.json()["error"]) == (400, "unauthorized_client")
    assert (missing.status_code, missing.json()["error"]) == (400, "invalid_request")
    assert (await http.get("/revoke")).status_code == 405
    answer = await login(grant_type="refresh_token", refresh_token=body["refresh_token"])
    assert answer.status_code == 200
