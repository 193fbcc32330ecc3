"""``GET /asyncapi.json``."""

from __future__ import annotations

from fastapi import FastAPI
from starlette.testclient import TestClient

from ws_gateway.asyncapi import document
from ws_gateway.routes import asyncapi


def test_everybody_may_read_the_document() -> None:
    """With its own media type, without a credential; who has it is told so."""
    app = FastAPI()
    app.include_router(asyncapi.create_router())

    with TestClient(app) as http:
        answer = http.get("/asyncapi.json")
        again = http.get("/asyncapi.json", headers={"If-None-Match": answer.headers["ETag"]})

    assert answer.json() == document()
    assert answer.headers["Content-Type"] == "application/vnd.aai.asyncapi+json;version=3.0.0"
    assert (again.status_code, again.content) == (304, b"")
