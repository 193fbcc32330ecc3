"""A file as it is sent."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from fastapi import FastAPI, Request, Response
from starlette.testclient import TestClient

from ws_gateway.routes.asset import Asset


@pytest.fixture
def http() -> Iterator[TestClient]:
    """A client of an application with one file."""
    app = FastAPI()
    asset = Asset.of(b"body {}", "text/css")

    @app.get("/")
    async def read(request: Request) -> Response:
        return asset.answer(request)

    with TestClient(app) as client:
        yield client


def test_it_comes_with_its_type_and_name(http: TestClient) -> None:
    """A browser guesses nothing, keeps it, and asks."""
    answer = http.get("/")

    assert answer.content == b"body {}"
    assert answer.headers["Content-Type"] == "text/css; charset=utf-8"
    assert answer.headers["X-Content-Type-Options"] == "nosniff"
    assert answer.headers["Cache-Control"] == "no-cache"


@pytest.mark.parametrize("known", ["{}", "W/{}", '"other", {}'])
def test_what_is_known_is_not_sent_again(http: TestClient, known: str) -> None:
    """RFC 9110 section 13.1.2, also where a proxy has made the name a weak one."""
    etag = http.get("/").headers["ETag"]
    again = http.get("/", headers={"If-None-Match": known.format(etag)})

    assert (again.status_code, again.content, again.headers["ETag"]) == (304, b"", etag)


def test_other_content_has_another_name(http: TestClient) -> None:
    """What was kept of an older version is replaced."""
    old = Asset.of(b"body { }", "text/css")

    assert http.get("/", headers={"If-None-Match": old.etag}).status_code == 200
