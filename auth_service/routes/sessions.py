"""``/sessions``: where a user is logged in, and logging out there."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Request, Response, Security
from fastapi.responses import JSONResponse
from pydantic import BaseModel

from auth_service.access import AccessCheck
from auth_service.exceptions import NotFound, RequestError
from auth_service.own_account import OwnAccount
from auth_service.routes.bearer import HEADER, user_of
from auth_service.routes.caller import caller_of
from auth_service.routes.errors import describe, log_refusal
from auth_service.routes.members import describe_members, read_members


class SessionAnswer(BaseModel):
    """One session; times are seconds since 1970."""

    sid: str
    client_id: str
    kind: str
    scope: str
    created_at: int
    used_at: int
    expires_at: int
    address: str
    user_agent: str
    current: bool


class SessionsAnswer(BaseModel):
    """A user's sessions, the last used one first."""

    sessions: list[SessionAnswer]


# By hand: a parameter of the function would make the framework promise its 422.
_SID = {"name": "sid", "in": "path", "required": True, "schema": {"type": "string"}}
_TOKEN_REFUSALS = {
    400: "invalid_request: two Authorization headers",
    401: "no token, or invalid_token; a cookie does not count here",
    503: "without database; Retry-After says when to come again",
}


def sessions_router(*, access: AccessCheck, account: OwnAccount) -> APIRouter:
    """Build the routes.

    Args:
        access: Checks the token.
        account: Lists and ends sessions.
    """
    router = APIRouter()

    @router.get(
        "/sessions",
        summary="Where I am logged in",
        response_model=None,
        responses={
            200: {"model": SessionsAnswer, "description": "Sessions that are not over."},
            **describe(_TOKEN_REFUSALS),
        },
    )
    async def listed(token: Annotated[str, Security(HEADER)]) -> JSONResponse:
        """Return the user's sessions, the 200 last used ones at most."""
        found, _ = await user_of(token, access)
        answer = SessionsAnswer(
            sessions=[
                SessionAnswer(
                    sid=session.id,
                    client_id=session.client_id,
                    kind=session.kind,
                    scope=session.scope,
                    created_at=session.created_at,
                    used_at=session.used_at,
                    expires_at=min(session.idle_expires_at, session.expires_at),
                    address=session.address,
                    user_agent=session.user_agent,
                    current=session.id == found.claims.sid,
                )
                for session in await account.list_sessions(found.claims.sub)
            ]
        )
        return JSONResponse(answer.model_dump())

    @router.delete(
        "/sessions/{sid}",  # noqa: FAST003 (read by hand, see _SID)
        status_code=204,
        response_class=Response,
        summary="Log out there",
        responses={
            204: {"description": "The session has ended; its tokens are refused everywhere."},
            **describe({**_TOKEN_REFUSALS, 404: "not_found: no such session of this user"}),
        },
        openapi_extra={"parameters": [_SID]},
    )
    async def end(request: Request, token: Annotated[str, Security(HEADER)]) -> Response:
        """End one of the user's sessions."""
        found, _ = await user_of(token, access)
        sid = request.path_params["sid"]
        if not await account.end_session(found.claims.sub, sid, caller=caller_of(request)):
            raise NotFound
        return Response(status_code=204)

    @router.delete(
        "/sessions",
        status_code=204,
        response_class=Response,
        summary="Log out everywhere",
        responses={
            204: {"description": "All sessions have ended; all tokens are refused everywhere."},
            **describe(
                {
                    **_TOKEN_REFUSALS,
                    400: "invalid_request, or invalid_grant: the password is wrong",
                    408: "the body came too slowly",
                    413: "the body is over 16 KiB",
                    429: "too_many_attempts; Retry-After says when to come again",
                }
            ),
        },
        openapi_extra={"requestBody": describe_members("password")},
    )
    async def end_all(request: Request, token: Annotated[str, Security(HEADER)]) -> Response:
        """End all of the user's sessions, this one included; the current password is needed."""
        try:
            _, username = await user_of(token, access)
            (password,) = await read_members(request, "password")
            await account.end_all_sessions(username, password, caller=caller_of(request))
        except RequestError as error:
            log_refusal(request, "logout_refused", error, None)
            raise
        return Response(status_code=204)

    return router
