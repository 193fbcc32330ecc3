"""What clients and gateways discover: the key set and the server's metadata (RFC 8414)."""

from __future__ import annotations

import hashlib
from collections.abc import Awaitable, Callable
from urllib.parse import urlsplit

from fastapi import APIRouter, Request, Response
from fastapi.responses import JSONResponse

from auth_service import pkce
from auth_service.clients import ASSERTION_ALGORITHMS, AUTHENTICATION_METHODS, PROVING_METHODS
from auth_service.keys import JWKS_MAX_AGE_SECONDS, KeyRing, KeySource
from auth_service.routes.errors import describe

_CACHE_CONTROL = f"public, max-age={JWKS_MAX_AGE_SECONDS}"


def metadata_router(
    *,
    keys: KeySource,
    issuer: str,
    grants_in_use: Callable[[], Awaitable[frozenset[str]]],
    clock: Callable[[], float],
) -> APIRouter:
    """Build the routes.

    Args:
        keys: Their public halves are shown.
        issuer: The configured issuer; addresses begin with it, whatever the Host header says.
        grants_in_use: Returns what the token endpoint serves and tells about.
        clock: Seconds since 1970.
    """
    router = APIRouter()
    written = _Written()
    metadata = {
        "issuer": issuer,
        "authorization_endpoint": f"{issuer}/authorize",
        "token_endpoint": f"{issuer}/token",
        "device_authorization_endpoint": f"{issuer}/device_authorization",
        "token_endpoint_auth_methods_supported": list(AUTHENTICATION_METHODS),
        "token_endpoint_auth_signing_alg_values_supported": list(ASSERTION_ALGORITHMS),
        "revocation_endpoint": f"{issuer}/revoke",
        "revocation_endpoint_auth_methods_supported": list(AUTHENTICATION_METHODS),
        "revocation_endpoint_auth_signing_alg_values_supported": list(ASSERTION_ALGORITHMS),
        "introspection_endpoint": f"{issuer}/introspect",
        "introspection_endpoint_auth_methods_supported": list(PROVING_METHODS),
        "introspection_endpoint_auth_signing_alg_values_supported": list(ASSERTION_ALGORITHMS),
        "jwks_uri": f"{issuer}/.well-known/jwks.json",
        "response_types_supported": ["code"],
        "response_modes_supported": ["query"],
        "code_challenge_methods_supported": [pkce.METHOD],
        "authorization_response_iss_parameter_supported": True,
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
        jwks, etag = written.of(keys.at(clock()))
        headers = {"Cache-Control": _CACHE_CONTROL, "ETag": etag}
        if _matches(request.headers.get("if-none-match", ""), etag):
            return Response(status_code=304, headers=headers)
        return Response(jwks, headers=headers, media_type="application/jwk-set+json")

    async def server_metadata() -> JSONResponse:
        """Return the metadata, cacheable for five minutes."""
        complete = metadata | {"grant_types_supported": sorted(await grants_in_use())}
        return JSONResponse(complete, headers={"Cache-Control": _CACHE_CONTROL})

    # The issuer's path follows the well-known one (RFC 8414 section 3.1).
    for path in sorted({"", urlsplit(issuer).path}):
        router.add_api_route(
            f"/.well-known/oauth-authorization-server{path}",
            server_metadata,
            summary="What this server can do (RFC 8414)",
            response_class=JSONResponse,
            responses=describe({503: "without database; Retry-After says when to come again"}),
        )

    return router


class _Written:
    """The key set as it is sent, and its ETag: made again when the keys are others."""

    def __init__(self) -> None:
        self._ring: KeyRing | None = None
        self._answer = (b"", "")

    def of(self, ring: KeyRing) -> tuple[bytes, str]:
        if ring is not self._ring:
            jwks = ring.jwks()
            self._answer = (jwks, f'"{hashlib.sha256(jwks).hexdigest()[:32]}"')
            self._ring = ring
        return self._answer


def _matches(if_none_match: str, etag: str) -> bool:
    """Compare weakly, as RFC 9110 section 13.1.2 asks for this header."""
    offered = {entry.strip().removeprefix("W/") for entry in if_none_match.split(",")}
    return etag in offered or "*" in offered
