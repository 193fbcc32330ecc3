"""``POST /revoke``: a client gives a token back (RFC 7009)."""

from __future__ import annotations

from fastapi import APIRouter, Request, Response

from auth_service.clients import ClientAuthenticator
from auth_service.exceptions import InvalidRequest, RequestError
from auth_service.models import Client
from auth_service.routes.caller import caller_of
from auth_service.routes.errors import describe, log_refusal
from auth_service.routes.form import read_form
from auth_service.routes.token_form import describe_form
from auth_service.token_revocation import TokenRevocation


def revoke_router(*, clients: ClientAuthenticator, revocation: TokenRevocation) -> APIRouter:
    """Build the route.

    Args:
        clients: Says which client asks.
        revocation: Revokes.
    """
    router = APIRouter()

    @router.post(
        "/revoke",
        summary="Give a token back",
        response_class=Response,
        responses={
            200: {"description": "The token is good no more, if it ever was."},
            **describe(
                {
                    400: "invalid_request, or unauthorized_client: it is another client's token",
                    401: "invalid_client",
                    408: "the body came too slowly",
                    413: "the body is over 16 KiB",
                    429: "too_many_attempts; Retry-After says when to come again",
                    503: "without database; Retry-After says when to come again",
                }
            ),
        },
        openapi_extra={"requestBody": describe_form()},
    )
    async def revoke(request: Request) -> Response:
        """Revoke a token: a refresh token ends its session, an access token only itself.

        Clients authenticate as at `/token`. An unknown or expired token is answered like any other.
        """
        client: Client | None = None
        try:
            form = await read_form(request)
            authorization = request.headers.getlist("authorization")
            caller = caller_of(request)
            client = await clients.identify(
                authorization=authorization, form=form, address=caller.address
            )
            token = form.get("token")
            if token is None:
                raise InvalidRequest("token is required")
            await revocation.revoke(token, client, caller=caller)
        except RequestError as error:
            log_refusal(request, "revocation_refused", error, client)
            raise
        return Response(status_code=200)

    return router
