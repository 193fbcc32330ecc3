"""``POST /introspect``: what a token is worth (RFC 7662)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from fastapi import APIRouter, Request
from fastapi.responses import JSONResponse
from pydantic import BaseModel

from auth_service.access import AccessCheck
from auth_service.clients import ClientAuthenticator
from auth_service.exceptions import (
    BearerError,
    InvalidClient,
    InvalidRequest,
    InvalidToken,
    RequestError,
)
from auth_service.introspection import SCOPE, Introspection
from auth_service.routes.caller import caller_of
from auth_service.routes.errors import describe, log_refusal
from auth_service.routes.form import read_form
from auth_service.routes.token_form import describe_form
from auth_service.throttle import Throttle


class IntrospectionAnswer(BaseModel):
    """What a token says; of one that is not good, ``active`` only (RFC 7662 section 2.2)."""

    active: bool
    scope: str | None = None
    client_id: str | None = None
    sub: str | None = None
    username: str | None = None
    aud: list[str] | None = None
    iss: str | None = None
    exp: int | None = None
    iat: int | None = None
    jti: str | None = None
    sid: str | None = None
    token_type: str | None = None


def introspect_router(
    *,
    clients: ClientAuthenticator,
    access: AccessCheck,
    introspection: Introspection,
    guesses: Throttle,
) -> APIRouter:
    """Build the route.

    Args:
        clients: Says which client asks.
        access: Checks the token of a caller who has one.
        introspection: Looks at the token in question.
        guesses: Slows down a caller whose tokens are not active.
    """
    router = APIRouter()

    @router.post(
        "/introspect",
        summary="What a token is worth",
        response_model=None,
        responses={
            200: {"model": IntrospectionAnswer, "description": "What it says, if it is good."},
            **describe(
                {
                    400: "invalid_request",
                    401: "invalid_client, or invalid_token: the caller is nobody known",
                    403: "insufficient_scope: the caller has not the scope introspect",
                    408: "the body came too slowly",
                    413: "the body is over 16 KiB",
                    429: "too_many_attempts; Retry-After says when to come again",
                    503: "without database; Retry-After says when to come again",
                }
            ),
        },
        openapi_extra={"requestBody": describe_form()},
    )
    async def introspect(request: Request) -> JSONResponse:
        """Answer a resource server's question about a token.

        It authenticates as a confidential client that has the scope `introspect`, or by a bearer
        token of that scope.
        """
        try:
            form = await read_form(request)
            caller = await _authorize(request, form)
            guesses.check(caller)
            token = form.get("token")
            if token is None:
                raise InvalidRequest("token is required")
        except RequestError as error:
            log_refusal(request, "introspection_refused", error, None)
            raise
        described: dict[str, Any] = await introspection.describe(token)
        if not described["active"]:
            guesses.count(caller)
        return JSONResponse(described)

    async def _authorize(request: Request, form: Mapping[str, str]) -> str:
        """Return the id of the client that asks."""
        authorization = request.headers.getlist("authorization")
        if len(authorization) == 1 and authorization[0][:7].lower() == "bearer ":
            asks, scopes = await _bearer(authorization[0][7:].strip(" "))
        else:
            client = await clients.identify(
                authorization=authorization, form=form, address=caller_of(request).address
            )
            if client.public:
                raise InvalidClient("only a client that proves who it is may ask")
            asks, scopes = client.id, client.scopes
        if SCOPE not in scopes:
            raise BearerError(403, "insufficient_scope", "the scope introspect is needed")
        return asks

    async def _bearer(token: str) -> tuple[str, frozenset[str]]:
        try:
            claims = (await access.check(token)).claims
            return claims.client_id, frozenset(claims.scope.split(" "))
        except InvalidToken:
            raise BearerError(401, "invalid_token", "the access token is not valid") from None

    return router
