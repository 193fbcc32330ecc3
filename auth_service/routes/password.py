"""``POST /users/me/password``: a user's new password."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Request, Response, Security

from auth_service.access import AccessCheck
from auth_service.exceptions import RequestError
from auth_service.own_account import OwnAccount
from auth_service.routes.bearer import HEADER, user_of
from auth_service.routes.caller import caller_of
from auth_service.routes.errors import describe, log_refusal
from auth_service.routes.members import describe_members, read_members


def password_router(*, access: AccessCheck, account: OwnAccount) -> APIRouter:
    """Build the route.

    Args:
        access: Checks the token.
        account: Changes the password.
    """
    router = APIRouter()

    @router.post(
        "/users/me/password",
        status_code=204,
        response_class=Response,
        summary="Change my password",
        responses={
            204: {"description": "Changed: all sessions have ended, this one included."},
            **describe(
                {
                    400: "invalid_request: the new password is not acceptable; invalid_grant: the"
                    " current one is wrong",
                    401: "no token, or invalid_token; a cookie does not count here",
                    408: "the body came too slowly",
                    413: "the body is over 16 KiB",
                    429: "too_many_attempts; Retry-After says when to come again",
                    503: "overloaded or without database; Retry-After says when to come again",
                }
            ),
        },
        openapi_extra={"requestBody": describe_members("password", "new_password")},
    )
    async def change(request: Request, token: Annotated[str, Security(HEADER)]) -> Response:
        """Replace the user's password; the current one is needed too."""
        try:
            _, username = await user_of(token, access)
            password, new = await read_members(request, "password", "new_password")
            await account.change_password(username, password, new, caller=caller_of(request))
        except RequestError as error:
            log_refusal(request, "password_change_refused", error, None)
            raise
        return Response(status_code=204)

    return router
