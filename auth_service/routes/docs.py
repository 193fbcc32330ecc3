"""``GET /docs``: the OpenAPI document as one page, made here and without scripts.

The usual viewers come from a CDN; a page of an authorization server loads nothing from elsewhere.
"""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Callable, Iterator
from html import escape
from typing import Any

from fastapi import APIRouter
from fastapi.responses import HTMLResponse

_STYLE = (
    "body{font:16px/1.5 system-ui,sans-serif;max-width:48rem;margin:2rem auto;padding:0 1rem}"
    "h2{border-top:1px solid #8884;padding-top:1rem}code{font-size:1em}"
    "td,th{text-align:left;vertical-align:top;padding:.1rem 1rem .1rem 0}"
    ":root{color-scheme:light dark}"
)
_STYLE_HASH = base64.b64encode(hashlib.sha256(_STYLE.encode()).digest()).decode()
_POLICY = f"default-src 'none'; style-src 'sha256-{_STYLE_HASH}'; frame-ancestors 'none'"


def docs_router(*, openapi: Callable[[], dict[str, Any]]) -> APIRouter:
    """Build the route.

    Args:
        openapi: Returns the application's OpenAPI document.
    """
    router = APIRouter(include_in_schema=False)

    @router.get("/docs")
    async def docs() -> HTMLResponse:
        return HTMLResponse(render(openapi()), headers={"Content-Security-Policy": _POLICY})

    return router


def render(document: dict[str, Any]) -> str:
    """Write an OpenAPI document as HTML; every word of it is escaped."""
    info = document["info"]
    operations = "".join(
        _operation(method, path, operation)
        for path, methods in document["paths"].items()
        for method, operation in methods.items()
    )
    return (
        '<!doctype html><html lang="en"><head><meta charset="utf-8">'
        f"<title>{escape(info['title'])}</title><style>{_STYLE}</style></head><body>"
        f"<h1>{escape(info['title'])}</h1><p>{escape(info.get('description', ''))}</p>"
        '<p>For programs: <a href="/openapi.json">openapi.json</a></p>'
        f"{operations}</body></html>"
    )


def _operation(method: str, path: str, operation: dict[str, Any]) -> str:
    answers = (
        (status, answer.get("description", "")) for status, answer in operation["responses"].items()
    )
    return (
        f"<h2><code>{escape(method.upper())} {escape(path)}</code></h2>"
        f"<p>{escape(operation.get('summary', ''))}. {escape(operation.get('description', ''))}</p>"
        + _table("Query", _parameters(operation))
        + _table("Form", _fields(operation))
        + _table("Answers", answers)
    )


def _parameters(operation: dict[str, Any]) -> Iterator[tuple[str, str]]:
    for parameter in operation.get("parameters", []):
        words = [parameter.get("description", "")]
        if parameter.get("required"):
            words.append("required")
        yield parameter["name"], "; ".join(word for word in words if word)


def _fields(operation: dict[str, Any]) -> Iterator[tuple[str, str]]:
    for content in operation.get("requestBody", {}).get("content", {}).values():
        schema = content["schema"]
        for name, field in schema["properties"].items():
            words = [field.get("description", ""), ", ".join(field.get("enum", []))]
            if name in schema.get("required", []):
                words.append("required")
            yield name, "; ".join(word for word in words if word)


def _table(title: str, rows: Iterator[tuple[str, str]]) -> str:
    body = "".join(
        f"<tr><td><code>{escape(name)}</code></td><td>{escape(text)}</td></tr>"
        for name, text in rows
    )
    return f"<h3>{escape(title)}</h3><table>{body}</table>" if body else ""
