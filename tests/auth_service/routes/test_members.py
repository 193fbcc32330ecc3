"""Texts out of a form or JSON."""

from __future__ import annotations

import httpx2
import pytest
from fastapi import FastAPI, Request

from auth_service.routes.errors import install_error_answers
from auth_service.routes.members import describe_members, read_members


@pytest.fixture
async def http() -> httpx2.AsyncClient:
    """An application that reads two members."""
    app = FastAPI()
    install_error_answers(app)

    @app.post("/")
    async def read(request: Request) -> list[str]:
        return await read_members(request, "a", "b")

    return httpx2.AsyncClient(transport=httpx2.ASGITransport(app), base_url="http://x")


async def test_both_kinds_are_read(http: httpx2.AsyncClient) -> None:
    """Others are ignored."""
    members = {"b": "2", "a": "1", "c": "3"}

    assert (await http.post("/", data=members)).json() == ["1", "2"]
    assert (await http.post("/", json=members)).json() == ["1", "2"]


@pytest.mark.parametrize("members", [{}, {"a": "1"}, {"a": "1", "b": ""}])
async def test_all_must_be_there(http: httpx2.AsyncClient, members: dict[str, str]) -> None:
    """An empty one is not."""
    for answer in (await http.post("/", data=members), await http.post("/", json=members)):
        assert (answer.status_code, answer.json()["error"]) == (400, "invalid_request")


async def test_a_body_of_no_kind_is_refused(http: httpx2.AsyncClient) -> None:
    """By the reader of JSON."""
    answer = await http.post("/", content=b"a=1&b=2", headers={"Content-Type": "text/plain"})

    assert answer.status_code == 400


def test_the_description_names_both_kinds() -> None:
    """And every member."""
    described = describe_members("a")

    assert described["content"].keys() == {
        "application/json",
        "application/x-www-form-urlencoded",
    }
    for kind in described["content"].values():
        assert kind["schema"]["required"] == ["a"]
