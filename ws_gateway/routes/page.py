"""``GET /`` and ``/static/gateway/*``: the chat page, and what it loads."""

from __future__ import annotations

from importlib.resources import files

from fastapi import APIRouter, Depends, Request, Response
from starlette.responses import PlainTextResponse, RedirectResponse

from ws_gateway.bearer import Admission, OAuth2WebSocketPasswordBearer
from ws_gateway.routes.asset import SECURITY, Asset

LOGIN = "/login"
"""Where the front has the page that sets the cookie; the gateway knows no more of it."""

_TYPES = {".css": "text/css", ".js": "text/javascript", ".svg": "image/svg+xml"}
# Nothing from elsewhere (the socket to this very host is 'self' too: CSP level 3, section 6.7.2.8),
# nothing inline, no frame around it, and text can become markup nowhere (trusted types).
_POLICY = (
    "default-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none';"
    " require-trusted-types-for 'script'; trusted-types 'none'"
)
_PAGE_HEADERS = {
    **SECURITY,
    "Cache-Control": "no-store",
    "Content-Security-Policy": _POLICY,
    "X-Frame-Options": "DENY",
}


def create_router() -> APIRouter:
    """Make the routes; the files are read now, so that no path of a request reaches the disk."""
    router = APIRouter(include_in_schema=False)
    bearer = OAuth2WebSocketPasswordBearer(
        tokenUrl="/token",
        scopes={"connect": "open a connection"},
        auto_error=False,
    )
    static = files("ws_gateway") / "static"
    page = (static / "index.html").read_bytes()
    assets = {
        entry.name: Asset.of(entry.read_bytes(), _TYPES[_suffix(entry.name)])
        for entry in static.iterdir()
        if _suffix(entry.name) in _TYPES
    }

    @router.get("/", dependencies=[Depends(bearer)])
    async def chat(request: Request) -> Response:
        """Show the page to who has logged in, and others the way."""
        admission: Admission = request.state.admission
        if admission.credentials is None:
            return RedirectResponse(LOGIN, 303, {**SECURITY, "Cache-Control": "no-store"})
        return Response(page, media_type="text/html", headers=_PAGE_HEADERS)

    @router.get("/static/gateway/{name}")
    async def asset(name: str, request: Request) -> Response:
        found = assets.get(name)
        if found is None:
            return PlainTextResponse("Not Found", 404)
        return found.answer(request)

    return router


def _suffix(name: str) -> str:
    return name[name.rfind(".") :]
