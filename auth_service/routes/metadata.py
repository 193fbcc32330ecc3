"""What clients and gateways discover: the key set and the server's metadata (RFC 8414)."""

from __future__ import annotations

import hashlib
from collections.abc import Collection

from fastapi import APIRouter, Request, Response
from fastapi.responses import JSONResponse

from auth_service.clients import AUTHENTICATION_METHODS
from auth_service.keys import KeyRing

MAX_AGE_SECONDS = 300
_CACHE_CONTROL = f"public, max-age={MAX_AGE_SECONDS}"


def metadata_router(*, keys: KeyRing, issuer: str, grant_types: Collection[str]) -> APIRouter:
    """Build the routes.

    Args:
        keys: Their public halves are shown.
        issuer: The configured issuer; addresses begin with it, whatever the Host header says.
        grant_types: What the token endpoint serves.
    """
    router = APIRouter()
    jwks = keys.jwks()
    etag = f'"{hashlib.sha256(jwks).hexdigest()[:32]}"'
    metadata = {
        "issuer": issuer,
        "token_endpoint": f"{issuer}/token",
        "token_endpoint_auth_methods_supported": list(AUTHENTICATION_METHODS),
        "jwks_uri": f"{issuer}/.well-known/jwks.json",
        "grant_types_supported": sorted(grant_types),
        # Required by RFC 8414 section 2, and empty: there is no authorization endpoint.
        "response_types_supported": [],
        "scopes_supported": ["connect"],
    }

    @router.get(
        "/.well-known/jwks.json",
        summary="The public keys that verify access tokens",
        response_class=Response,
        responses={
            200: {"content": {"application/jwk-set+json": {}}, "description": "RFC 7517 key set."},
            304: {"description": "Unchanged since the ETag of If-None-Match."},
        },
    )
    async def key_set(request: Request) -> Response:
        """Return the key set, cacheable for five minutes."""
        headers = {"Cache-Control": _CACHE_CONTROL, "ETag": etag}
        if _matches(request.headers.get("if-none-match", ""), etag):
            return Response(status_code=304, headers=headers)
        return Response(jwks, headers=headers, media_type="application/jwk-set+json")

    @router.get(
        "/.well-known/oauth-authorization-server",
        summary="What this server can do (RFC 8414)",
        response_class=JSONResponse,
    )
    async def server_metadata() -> JSONResponse:
        """Return the metadata, cacheable for five minutes."""
        return JSONResponse(metadata, headers={"Cache-Control": _CACHE_CONTROL})

    return router


def _matches(if_none_match: str, etag: str) -> bool:
    """Compare weakly, as RFC 9110 section 13.1.2 asks for this header."""
    offered = {entry.strip().removeprefix("W/") for entry in if_none_match.split(",")}
    return etag in offered or "*" in offered
