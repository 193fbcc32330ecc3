"""The access token of a request (RFC 6750), and whose it is."""

from __future__ import annotations

from fastapi.security import OAuth2
from starlette.requests import HTTPConnection
from typing_extensions import override

from auth_service.access import Access, AccessCheck
from auth_service.exceptions import BearerError, InvalidToken

COOKIE = "__Host-drawbridge"


class AccessTokenBearer(OAuth2):
    """Takes the token out of a request, but never out of the query string, which ends up in logs.

    Args:
        cookie: Whether the session's cookie counts where there is no ``Authorization`` header. A
            browser sends it whatever page asks, so it is for looking only, not for changing.
    """

    def __init__(self, *, cookie: bool) -> None:
        self._cookie = cookie
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
        elif self._cookie and COOKIE in request.cookies:
            return request.cookies[COOKIE]
        raise BearerError(401, None, "an access token is required")


HEADER = AccessTokenBearer(cookie=False)
HEADER_OR_COOKIE = AccessTokenBearer(cookie=True)


async def user_of(token: str, access: AccessCheck) -> tuple[Access, str]:
    """Return what a good token of a user says, and his name.

    Raises:
        BearerError: It is not good, or a service's.
        StoreUnavailable: The database does not answer.
    """
    try:
        found = await access.check(token)
    except InvalidToken:
        found = None
    if found is None or found.username is None:
        raise BearerError(401, "invalid_token", "the access token is not valid")
    return found, found.username
