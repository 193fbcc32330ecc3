"""How refusals look."""

from __future__ import annotations

import httpx2
import pytest
from fastapi import FastAPI

from auth_service.exceptions import InvalidScope, Overloaded
from auth_service.routes.errors import describe, install_error_answers


@pytest.fixture
def app() -> FastAPI:
    """An application with one route per kind of failure."""
    application = FastAPI(docs_url=None, openapi_url=None)
    install_error_answers(application)

    @application.get("/number/{number}")
    async def number(number: int) -> int:
        return number

    @application.get("/scope")
    async def scope() -> None:
        raise InvalidScope("the scope is malformed")

    @application.get("/busy")
    async def busy() -> None:
        raise Overloaded

    return application


@pytest.fixture
def http(app: FastAPI) -> httpx2.AsyncClient:
    """A client of it."""
    return httpx2.AsyncClient(transport=httpx2.ASGITransport(app), base_url="http://auth")


async def test_an_oauth2_error_has_the_fields_of_the_standard(http: httpx2.AsyncClient) -> None:
    """RFC 6749 section 5.2."""
    answer = await http.get("/scope")

    assert answer.status_code == 400
    assert answer.json() == {
        "error": "invalid_scope",
        "error_description": "the scope is malformed",
    }


async def test_overload_carries_retry_after(http: httpx2.AsyncClient) -> None:
    """Headers of the error reach the wire."""
    answer = await http.get("/busy")

    assert answer.status_code == 503
    assert answer.headers["Retry-After"] == "2"


async def test_the_frameworks_422_never_appears(http: httpx2.AsyncClient) -> None:
    """It would repeat the input."""
    answer = await http.get("/number/secret")

    assert answer.status_code == 400
    assert answer.json()["error"] == "invalid_request"
    assert "secret" not in answer.text


async def test_unknown_path_and_method_are_json(http: httpx2.AsyncClient) -> None:
    """With Allow where HTTP wants it."""
    missing = await http.get("/nowhere")
    wrong = await http.post("/scope")

    assert (missing.status_code, missing.json()) == (404, {"error": "not_found"})
    assert (wrong.status_code, wrong.json()) == (405, {"error": "method_not_allowed"})
    assert wrong.headers["Allow"] == "GET"


def test_every_status_is_documented_with_the_same_body() -> None:
    """The model names `error`."""
    assert describe({400: "bad"})[400]["description"] == "bad"
