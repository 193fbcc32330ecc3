"""``GET /users/me``: who the bearer of an access token is (RFC 6750)."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Security
from fastapi.responses import JSONResponse
from pydantic import BaseModel

from auth_service.access import AccessCheck
from auth_service.routes.bearer import HEADER_OR_COOKIE, user_of
from auth_service.routes.errors import describe


class UserAnswer(BaseModel):
    """The user behind a token."""

    sub: str
    username: str
    scope: str


def users_router(*, access: AccessCheck) -> APIRouter:
    """Build the routes.

    Args:
        access: Checks the token.
    """
    router = APIRouter()

    @router.get(
        "/users/me",
        summary="Who am I",
        response_model=None,
        responses={
            200: {"model": UserAnswer, "description": "The user of the token."},
            **describe(
                {
                    400: "invalid_request: two Authorization headers",
                    401: "no token, or invalid_token",
                    503: "without database; Retry-After says when to come again",
                }
            ),
        },
    )
    async def me(token: Annotated[str, Security(HEADER_OR_COOKIE)]) -> JSONResponse:
        """Return the token's user as the database knows him now."""
        found, username = await user_of(token, access)
        answer = UserAnswer(sub=found.claims.sub, username=username, scope=found.claims.scope)
        return JSONResponse(answer.model_dump())

    return router
