"""The documentation page."""

from __future__ import annotations

import base64
import hashlib
import re

import httpx2

from auth_service.routes.docs import render


async def test_the_page_shows_every_operation_and_loads_nothing(http: httpx2.AsyncClient) -> None:
    """No CDN, no script; the style is allowed by its hash."""
    document = (await http.get("/openapi.json")).json()
    answer = await http.get("/docs")

    for path in document["paths"]:
        assert path in answer.text
    assert "grant_type" in answer.text
    assert "<script" not in answer.text
    assert "http://" not in answer.text
    assert "https://" not in answer.text
    style = re.search("<style>(.*?)</style>", answer.text)
    assert style is not None
    digest = base64.b64encode(hashlib.sha256(style[1].encode()).digest()).decode()
    policy = answer.headers["Content-Security-Policy"]
    assert policy == (f"default-src 'none'; style-src 'sha256-{digest}'; frame-ancestors 'none'")


def test_words_of_the_document_are_escaped() -> None:
    """A description is text, whatever it holds."""
    page = render(
        {
            "info": {"title": "<b>", "description": "<script>"},
            "paths": {"/<i>": {"get": {"responses": {"200": {"description": "<u>"}}}}},
        }
    )

    for tag in ("<b>", "<script>", "<i>", "<u>"):
        assert tag not in page
