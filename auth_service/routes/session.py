"""``/session``: how a browser logs in, stays so and logs out.

The tokens go into cookies that no script can read. Behind the log-in is the same pipeline as behind
``POST /token``, so that limits, costs and answers are the same.

A browser sends cookies for whatever page asks, and log-ins too; so each request must name an
``Origin`` of ours, and a log-in must be JSON, which no foreign page's form can send.
"""

from __future__ import annotations

from collections.abc import Collection

from fastapi import APIRouter, Request, Response

from auth_service.clients import ClientAuthenticator
from auth_service.exceptions import InvalidGrant, OriginRefused, RequestError, SessionOver
from auth_service.grants.base import Grant
from auth_service.issued import Issued
from auth_service.models import Client
from auth_service.routes.bearer import COOKIE
from auth_service.routes.caller import caller_of
from auth_service.routes.errors import describe, log_refusal
from auth_service.routes.json_object import MEDIA_TYPE, read_object
from auth_service.sessions import Sessions
from auth_service.token_revocation import TokenRevocation

# ``__Host-`` asks for Path=/, so this one has the weaker prefix: it is sent to one path only.
REFRESH_COOKIE = "__Secure-drawbridge-refresh"
REFRESH_PATH = "/session"

_CREDENTIALS = {
    "required": True,
    "content": {
        MEDIA_TYPE: {
            "schema": {
                "type": "object",
                "required": ["username", "password"],
                "properties": {
                    "username": {"type": "string"},
                    "password": {"type": "string", "format": "password"},
                },
            }
        }
    },
}


def session_router(
    *,
    clients: ClientAuthenticator,
    password_grant: Grant,
    sessions: Sessions,
    revocation: TokenRevocation,
    origins: Collection[str],
) -> APIRouter:
    """Build the routes.

    Args:
        clients: Knows the default client, on whose behalf a browser logs in.
        password_grant: What ``POST /token`` does with a password, for browsers.
        sessions: Refreshes sessions.
        revocation: Ends them.
        origins: The pages that may log in and out, as browsers write ``Origin``.
    """
    router = APIRouter()

    @router.post(
        "/session",
        status_code=204,
        response_class=Response,
        summary="Log a browser in",
        responses={
            204: {"description": "Logged in: the tokens are in cookies."},
            **describe(
                {
                    400: "invalid_request, invalid_grant, invalid_scope or unauthorized_client",
                    401: "invalid_client: there is no default client",
                    403: "access_denied: Origin is missing or of a foreign page",
                    408: "the body came too slowly",
                    413: "the body is over 16 KiB",
                    429: "too_many_attempts; Retry-After says when to come again",
                    503: "overloaded or without database; Retry-After says when to come again",
                }
            ),
        },
        openapi_extra={"requestBody": _CREDENTIALS},
    )
    async def log_in(request: Request) -> Response:
        """Check a user's password and answer with the session's cookies."""
        client: Client | None = None
        try:
            _check_origin(request, origins)
            members = await read_object(request)
            # The client is the page itself, whatever the body or a header claims.
            client = await clients.identify(authorization=[], form={})
            names = members.keys() & {"username", "password"}
            credentials = {name: members[name] for name in names}
            issued = await password_grant.exchange(
                client=client, form=credentials, caller=caller_of(request)
            )
        except RequestError as error:
            log_refusal(request, "session_refused", error, client)
            raise
        return _with_cookies(issued)

    @router.post(
        "/session/refresh",
        status_code=204,
        response_class=Response,
        summary="Keep a browser logged in",
        responses={
            204: {"description": "Both cookies are new."},
            **describe(
                {
                    401: "invalid_grant: there is no session, or it is over; or invalid_client",
                    403: "access_denied: Origin is missing or of a foreign page",
                    503: "without database; Retry-After says when to come again",
                }
            ),
        },
    )
    async def refresh(request: Request) -> Response:
        """Replace the session's tokens by new ones.

        A refusal leaves the cookies alone: it may arrive after another tab has logged in anew.
        """
        client: Client | None = None
        try:
            _check_origin(request, origins)
            token = _refresh_token(request)
            client = await clients.identify(authorization=[], form={})
            issued = await sessions.refresh(
                token,
                client,
                requested=None,
                browser=True,
                caller=caller_of(request),
            )
        except SessionOver:
            raise  # the browser is not logged in: nothing for the log
        except InvalidGrant:
            log_refusal(request, "session_refused", SessionOver(), client)
            raise SessionOver from None
        except RequestError as error:
            log_refusal(request, "session_refused", error, client)
            raise
        return _with_cookies(issued)

    @router.delete(
        "/session",
        status_code=204,
        response_class=Response,
        summary="Log a browser out",
        responses={
            204: {"description": "The session has ended and the cookies are gone."},
            **describe(
                {
                    403: "access_denied: Origin is missing or of a foreign page",
                    503: "without database, and nothing has changed; Retry-After says when to come"
                    " again",
                }
            ),
        },
    )
    async def log_out(request: Request) -> Response:
        """End the session and take its cookies away; also if there are none, or bad ones."""
        try:
            _check_origin(request, origins)
            tokens = [request.cookies.get(REFRESH_COOKIE), request.cookies.get(COOKIE)]
            for token in filter(None, tokens):
                await revocation.end_session_of(token, caller=caller_of(request))
        except RequestError as error:
            log_refusal(request, "session_refused", error, None)
            raise
        answer = Response(status_code=204)
        _set_cookie(answer, COOKIE, "", path="/", seconds=0)
        _set_cookie(answer, REFRESH_COOKIE, "", path=REFRESH_PATH, seconds=0)
        return answer

    return router


def _check_origin(request: Request, origins: Collection[str]) -> None:
    """Compare exactly; browsers send ``null`` for what has no origin, and it is in no list."""
    named = request.headers.getlist("origin")
    if len(named) != 1 or named[0] not in origins:
        raise OriginRefused


def _refresh_token(request: Request) -> str:
    token = request.cookies.get(REFRESH_COOKIE)
    if token is None:
        raise SessionOver
    return token


def _with_cookies(issued: Issued) -> Response:
    answer = Response(status_code=204)
    _set_cookie(answer, COOKIE, issued.access_token, path="/", seconds=issued.expires_in)
    if issued.refresh_token is not None:
        _set_cookie(
            answer,
            REFRESH_COOKIE,
            issued.refresh_token,
            path=REFRESH_PATH,
            seconds=issued.refresh_expires_in,
        )
    return answer


def _set_cookie(answer: Response, name: str, value: str, *, path: str, seconds: int) -> None:
    """Set a cookie for this very host, TLS only, unseen by scripts and by other sites' requests."""
    answer.set_cookie(
        name, value, max_age=seconds, path=path, secure=True, httponly=True, samesite="strict"
    )
