"""``POST /token``: the token endpoint (RFC 6749 section 3.2)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from fastapi import APIRouter, Request
from fastapi.responses import JSONResponse
from pydantic import BaseModel

from auth_service.clients import ClientAuthenticator
from auth_service.exceptions import InvalidRequest, RequestError, UnsupportedGrantType
from auth_service.grants.base import Grant
from auth_service.metrics import Metrics
from auth_service.models import Client
from auth_service.routes.caller import caller_of
from auth_service.routes.errors import describe, log_refusal
from auth_service.routes.form import CLIENT_FIELDS, MEDIA_TYPE, read_form


class TokenAnswer(BaseModel):
    """A successful answer (RFC 6749 section 5.1)."""

    access_token: str
    token_type: str
    expires_in: int
    scope: str
    refresh_token: str | None = None


def _form(grant_types: list[str]) -> dict[str, Any]:
    """Describe the body for OpenAPI; it is read by hand, so the framework cannot."""
    text = {"type": "string"}
    return {
        "required": True,
        "content": {
            MEDIA_TYPE: {
                "schema": {
                    "type": "object",
                    "required": ["grant_type"],
                    "properties": {
                        "grant_type": {"type": "string", "enum": grant_types},
                        "username": text,
                        "password": {"type": "string", "format": "password"},
                        "refresh_token": {"type": "string", "format": "password"},
                        "scope": {**text, "description": "words separated by blanks"},
                        "code": text,
                        "redirect_uri": text,
                        "code_verifier": {"type": "string", "format": "password"},
                        "device_code": {"type": "string", "format": "password"},
                        **CLIENT_FIELDS,
                    },
                }
            }
        },
    }


def token_router(
    *, clients: ClientAuthenticator, grants: Mapping[str, Grant], metrics: Metrics
) -> APIRouter:
    """Build the route.

    Args:
        clients: Says which client asks.
        grants: ``grant_type`` → what serves it.
        metrics: Where requests are counted.
    """
    router = APIRouter()

    @router.post(
        "/token",
        summary="Exchange credentials for an access token",
        response_model=None,
        responses={
            200: {"model": TokenAnswer, "description": "The access token, an RFC 9068 JWT."},
            **describe(
                {
                    400: "invalid_request, invalid_grant, invalid_scope, unauthorized_client,"
                    " unsupported_grant_type; with a device code also authorization_pending,"
                    " slow_down, access_denied or expired_token",
                    401: "invalid_client",
                    408: "the body came too slowly",
                    413: "the body is over 16 KiB",
                    429: "too_many_attempts; Retry-After says when to come again",
                    503: "overloaded or without database; Retry-After says when to come again",
                }
            ),
        },
        openapi_extra={"requestBody": _form(sorted(grants))},
    )
    async def token(request: Request) -> JSONResponse:
        """Answer a client's request for a token.

        Clients authenticate by HTTP Basic, by `client_id` and `client_secret` in the form, or by a
        signed `client_assertion`; public clients send their `client_id` alone.
        """
        client: Client | None = None
        grant_type = "other"
        try:
            form = await read_form(request)
            grant = _choose(grants, form)
            grant_type = form["grant_type"]
            authorization = request.headers.getlist("authorization")
            caller = caller_of(request)
            client = await clients.identify(
                authorization=authorization, form=form, address=caller.address
            )
            issued = await grant.exchange(client=client, form=form, caller=caller)
        except RequestError as error:
            log_refusal(request, "token_refused", error, client)
            metrics.token_requests.labels(grant_type, error.error).inc()
            raise
        metrics.token_requests.labels(grant_type, "success").inc()
        answer: dict[str, Any] = {  # a `TokenAnswer`, which would say so at twice the cost
            "access_token": issued.access_token,
            "token_type": "Bearer",
            "expires_in": issued.expires_in,
            "scope": issued.scope,
        }
        if issued.refresh_token is not None:
            answer["refresh_token"] = issued.refresh_token
        return JSONResponse(answer)

    return router


def _choose(grants: Mapping[str, Grant], form: Mapping[str, str]) -> Grant:
    grant_type = form.get("grant_type")
    if grant_type is None:
        raise InvalidRequest("grant_type is required")
    grant = grants.get(grant_type)
    if grant is None:
        raise UnsupportedGrantType("this server does not know the grant type")
    return grant
