"""``GET /login`` and ``/static/auth/*``: the page where a browser logs in, and what it loads."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from importlib.resources import files

from fastapi import APIRouter, Request, Response
from starlette.exceptions import HTTPException

_TYPES = {".css": "text/css", ".js": "text/javascript", ".svg": "image/svg+xml"}
# Nothing from elsewhere, nothing inline, no frame around it; the form is sent by the script or, if
# that fails, not at all; and text can become markup nowhere (trusted types).
_POLICY = (
    "default-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none';"
    " require-trusted-types-for 'script'; trusted-types 'none'"
)


@dataclass(frozen=True, slots=True)
class Asset:
    """A file as it is sent.

    Attributes:
        content: Its bytes.
        media_type: What it is.
        etag: Its name at this very content.
    """

    content: bytes
    media_type: str
    etag: str


def page_router() -> APIRouter:
    """Build the routes; the files are read now, so that no path of a request reaches the disk."""
    router = APIRouter(include_in_schema=False)
    static = files("auth_service") / "static"
    page = (static / "login.html").read_bytes()
    assets = {
        entry.name: _load(entry.name, entry.read_bytes())
        for entry in static.iterdir()
        if _suffix(entry.name) in _TYPES
    }

    @router.get("/login")
    async def login() -> Response:
        return Response(page, media_type="text/html", headers={"Content-Security-Policy": _POLICY})

    @router.get("/static/auth/{name}")
    async def asset(name: str, request: Request) -> Response:
        found = assets.get(name)
        if found is None:
            raise HTTPException(404)
        # Kept, but asked about each time: a new version shows at once.
        headers = {"Cache-Control": "no-cache", "ETag": found.etag}
        if found.etag in request.headers.get("if-none-match", ""):
            return Response(status_code=304, headers=headers)
        return Response(found.content, media_type=found.media_type, headers=headers)

    return router


def _load(name: str, content: bytes) -> Asset:
    etag = f'"{hashlib.sha256(content).hexdigest()[:32]}"'
    return Asset(content, _TYPES[_suffix(name)], etag)


def _suffix(name: str) -> str:
    return name[name.rfind(".") :]
