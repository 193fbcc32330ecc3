"""Who may use the server API: whoever has its key, or a service's token with the right scope."""

from __future__ import annotations

import hmac
from collections.abc import Mapping

from fastapi import HTTPException
from starlette.requests import Request

from ws_gateway.credentials import Credentials
from ws_gateway.exceptions import CannotVerify, InvalidToken
from ws_gateway.handshake import challenge
from ws_gateway.verifier import Verifier

_KEY_HEADER = "x-api-key"
_RETRY = {"Retry-After": "1"}
_CLIENT = "client:"  # what ``sub`` of a token begins with that no user stands behind


class Access:
    """The door of the server API.

    A key in the URL is not looked at: every hop's log would hold it.

    Args:
        key: The API key; None if there is none.
        scopes: The scope that opens the API, by issuer.
        verifier: Judges tokens.
    """

    def __init__(self, *, key: str | None, scopes: Mapping[str, str], verifier: Verifier) -> None:
        self._key = None if key is None else key.encode()
        self._scopes = {issuer: scope for issuer, scope in scopes.items() if scope}
        self._verifier = verifier

    async def __call__(self, request: Request) -> None:
        """Note in ``request.state.caller`` who asks: ``key``, or the id of an OAuth2 client.

        Raises:
            HTTPException: 401 without a good credential, 403 where a token is good and not for
                this, 503 if that cannot be found out now.
        """
        request.state.caller = await self._find_caller(request)

    async def _find_caller(self, request: Request) -> str:
        keys = request.headers.getlist(_KEY_HEADER)
        authorizations = request.headers.getlist("authorization")
        if len(keys) + len(authorizations) != 1:
            raise _unauthorized("one X-API-Key or Authorization header is required")
        if keys:
            return self._check_key(keys[0])
        scheme, _, credential = authorizations[0].partition(" ")
        if scheme.lower() == "apikey":
            return self._check_key(credential)
        if scheme.lower() == "bearer":
            return await self._check_token(credential.strip(" "))
        raise _unauthorized("one X-API-Key or Authorization header is required")

    def _check_key(self, key: str) -> str:
        # Header values are latin-1; whatever else is in there cannot be equal to ours.
        given = key.encode("latin-1", "replace")
        if self._key is None or not hmac.compare_digest(given, self._key):
            raise _unauthorized("the API key is not valid")
        return "key"

    async def _check_token(self, token: str) -> str:
        try:
            credentials = await self._verifier.verify(token)
        except InvalidToken as error:
            raise HTTPException(
                401, "the token is not valid", challenge("invalid_token")
            ) from error
        except CannotVerify as error:
            raise HTTPException(503, "tokens cannot be checked now", _RETRY) from error
        scope = self._scopes.get(credentials.issuer, "")
        if not scope or scope not in credentials.scopes or not _is_service(credentials):
            raise HTTPException(
                403,
                "the token is not a service's with the scope of the server API",
                challenge("insufficient_scope", scope=scope or "api"),
            )
        return credentials.client_id


def _is_service(credentials: Credentials) -> bool:
    return credentials.subject == _CLIENT + credentials.client_id


def _unauthorized(detail: str) -> HTTPException:
    return HTTPException(401, detail, challenge())
