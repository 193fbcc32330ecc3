"""``GET /users/me``: who the bearer of an access token is (RFC 6750)."""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated

from fastapi import APIRouter, Security
from fastapi.responses import JSONResponse
from fastapi.security import OAuth2
from pydantic import BaseModel
from starlette.requests import HTTPConnection
from typing_extensions import override

from auth_service.exceptions import BearerError, InvalidToken
from auth_service.routes.errors import describe
from auth_service.store import Store
from auth_service.tokens import AccessTokens

COOKIE = "__Host-drawbridge"


class UserAnswer(BaseModel):
    """The user behind a token."""

    sub: str
    username: str
    scope: str


class AccessTokenBearer(OAuth2):
    """Takes the token out of a request: the ``Authorization`` header, else the session's cookie.

    Never out of the query string, which ends up in logs (OAuth 2.1 section 5).
    """

    def __init__(self) -> None:
        super().__init__(
            flows={"password": {"tokenUrl": "/token", "scopes": {"connect": "open connections"}}},
            scheme_name="OAuth2",
        )

    @override
    async def __call__(self, request: HTTPConnection) -> str:
        """Return the token's text, unread.

        Raises:
            BearerError: There is none (401, challenge without error), or the request carries two
                ``Authorization`` headers (400).
        """
        headers = request.headers.getlist("authorization")
        if len(headers) > 1:
            raise BearerError(400, "invalid_request", "use one Authorization header")
        if headers:
            scheme, _, token = headers[0].partition(" ")
            if scheme.lower() == "bearer":
                return token.strip(" ")
        elif COOKIE in request.cookies:
            return request.cookies[COOKIE]
        raise BearerError(401, None, "an access token is required")


BEARER = AccessTokenBearer()


def users_router(*, store: Store, tokens: AccessTokens, clock: Callable[[], float]) -> APIRouter:
    """Build the routes.

    Args:
        store: Where users are.
        tokens: Reads the token.
        clock: Seconds since 1970.
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
    async def me(token: Annotated[str, Security(BEARER)]) -> JSONResponse:
        """Return the token's user as the database knows him now."""
        refusal = BearerError(401, "invalid_token", "the access token is not valid")
        try:
            claims = tokens.read(token, now=clock())
        except InvalidToken:
            raise refusal from None
        user = await store.user_by_id(claims.sub)
        if user is None or user.disabled:
            raise refusal
        answer = UserAnswer(sub=user.id, username=user.username, scope=claims.scope)
        return JSONResponse(answer.model_dump())

    return router
