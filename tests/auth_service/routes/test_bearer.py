"""The access token of a request."""

from __future__ import annotations

import pytest
from starlette.requests import HTTPConnection

from auth_service.app import Service
from auth_service.exceptions import BearerError
from auth_service.models import User
from auth_service.routes.bearer import COOKIE, HEADER, HEADER_OR_COOKIE, user_of
from tests.auth_service.conftest import Login


def _connection(**headers: str) -> HTTPConnection:
    raw = [(name.encode(), value.encode()) for name, value in headers.items()]
    return HTTPConnection({"type": "http", "headers": raw})


async def test_the_header_counts_everywhere_and_the_cookie_where_it_may() -> None:
    """The header first."""
    both = _connection(authorization="Bearer a", cookie=f"{COOKIE}=b")
    cookie = _connection(cookie=f"{COOKIE}=b")

    assert [await one(both) for one in (HEADER, HEADER_OR_COOKIE)] == ["a", "a"]
    assert await HEADER_OR_COOKIE(cookie) == "b"
    with pytest.raises(BearerError) as caught:
        await HEADER(cookie)
    assert caught.value.status == 401


async def test_a_token_leads_to_its_user(service: Service, login: Login, alice: User) -> None:
    """A bad one to nobody."""
    token = (await login()).json()["access_token"]

    access, name = await user_of(token, service.access)
    with pytest.raises(BearerError):
        await user_of("x", service.access)

    assert (access.claims.sub, name) == (alice.id, "alice")
