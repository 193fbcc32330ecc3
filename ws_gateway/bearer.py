"""The bearer at the door: a FastAPI dependency for WebSocket and HTTP routes alike.

One import is enough to protect an application of one's own::

    from ws_gateway.bearer import Credentials, Issuer, OAuth2WebSocketPasswordBearer, Verifier

    app.state.verifier = Verifier(issuers=[Issuer(...)], origins=["https://app.example"])
    bearer = OAuth2WebSocketPasswordBearer(tokenUrl="/token")

    @app.websocket("/news")
    async def news(websocket: WebSocket, who: Annotated[Credentials, Depends(bearer)]) -> None: ...

Where the credential may be is said in ``ws_gateway.handshake``. Every refusal happens before the
upgrade, as an HTTP answer with its true status: a WebSocket closed before it is accepted would be
a bare 403 to its client, whatever the close code.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from fastapi import HTTPException
from fastapi.openapi.models import OAuthFlowPassword, OAuthFlows
from fastapi.security import OAuth2, SecurityScopes
from starlette.requests import HTTPConnection
from typing_extensions import override

from ws_gateway.credentials import Credentials
from ws_gateway.exceptions import (
    CannotVerify,
    ConfigurationError,
    HandshakeRejected,
    InvalidToken,
)
from ws_gateway.handshake import (
    SUBPROTOCOLS,
    Offer,
    Source,
    challenge,
    read_handshake,
    read_request,
)
from ws_gateway.verifier import Issuer, Verifier

__all__ = [
    "Admission",
    "Credentials",
    "Issuer",
    "OAuth2WebSocketPasswordBearer",
    "Source",
    "Verifier",
]

_NO_SCOPES = SecurityScopes()


@dataclass(frozen=True, slots=True)
class Admission:
    """Who comes in, and how; nothing of the token.

    Attributes:
        credentials: What the token said; None if there was none that counts.
        source: Where the credential was that gave ``credentials``.
        subprotocol: What to accept the WebSocket with.
        bad_cookie: A cookie of ours came and was not accepted, so that this is no guest but
            somebody whose log-in has ended.
        native_ping: The client asked to be pinged by WebSocket frames.
        protobuf: It asked for Protobuf in the URL, as ``subprotocol`` could not say it.
    """

    credentials: Credentials | None
    source: Source
    subprotocol: str | None = None
    bad_cookie: bool = False
    native_ping: bool = False
    protobuf: bool = False


class OAuth2WebSocketPasswordBearer(OAuth2):
    """A security dependency that returns the ``Credentials`` of a good access token.

    OpenAPI shows it as OAuth2's password flow. Further scopes can be required where it is used:
    ``Security(bearer, scopes=["api"])``. What it learnt besides is in
    ``connection.state.admission``, an ``Admission``.

    Args:
        tokenUrl: Where a token is got, for OpenAPI.
        scopes: Scopes and what they mean, for OpenAPI.
        auto_error: Refuse where there is no credential; else return None. A bad credential is
            always refused, except that a bad cookie counts as none.
        verifier: What judges tokens; ``app.state.verifier`` of the application if None.
        subprotocols: The WebSocket subprotocols of the routes that use this dependency.
        query_token: Accept ``?access_token=``. Logs of every hop will hold tokens.
        gate: Called with what a handshake offers before that is judged, which costs the most; may
            raise HandshakeRejected.
        scheme_name: The scheme's name in OpenAPI.
        description: Its description in OpenAPI.
    """

    def __init__(
        self,
        tokenUrl: str,  # noqa: N803  # as FastAPI's own classes spell it
        *,
        scopes: dict[str, str] | None = None,
        auto_error: bool = True,
        verifier: Verifier | None = None,
        subprotocols: Sequence[str] = SUBPROTOCOLS,
        query_token: bool = False,
        gate: Callable[[Offer], None] | None = None,
        scheme_name: str | None = None,
        description: str | None = None,
    ) -> None:
        flow = OAuthFlowPassword(tokenUrl=tokenUrl, scopes=scopes or {})
        super().__init__(
            flows=OAuthFlows(password=flow),
            scheme_name=scheme_name,
            description=description,
            auto_error=auto_error,
        )
        self._verifier = verifier
        self._subprotocols = tuple(subprotocols)
        self._query_token = query_token
        self._gate = gate

    @override
    async def __call__(  # type: ignore[override]  # the base returns the header's text
        self, request: HTTPConnection, security_scopes: SecurityScopes = _NO_SCOPES
    ) -> Credentials | None:
        """Return the credentials, None if there are none and ``auto_error`` is off.

        Raises:
            HTTPException: The refusal, which FastAPI answers on HTTP and WebSocket routes alike.
        """
        try:
            admission = await self.authenticate(request, scopes=security_scopes.scopes)
        except HandshakeRejected as error:
            raise HTTPException(error.status, error.detail, error.headers) from error
        request.state.admission = admission
        if admission.credentials is None and self.auto_error:
            raise HTTPException(401, "a bearer token is required", challenge())
        return admission.credentials

    async def authenticate(
        self, connection: HTTPConnection, *, scopes: Iterable[str] = ()
    ) -> Admission:
        """Return who comes in by this connection; ``auto_error`` plays no part.

        It does not suspend where the issuer's key is known.

        Args:
            connection: A WebSocket not yet accepted, or a request.
            scopes: Scopes required besides the issuer's own.

        Raises:
            HandshakeRejected: 400, 401, 403 or 503, with the headers to send along, or what the
                gate says. Its cause is the ``InvalidToken`` where a token was refused.
            ConfigurationError: There is no verifier.
        """
        verifier = self._find_verifier(connection)
        offer = self._read_offer(connection, verifier)
        if self._gate is not None:
            self._gate(offer)
        credentials = None if offer.token is None else await self._verify(offer, verifier)
        if credentials is None:
            return Admission(
                credentials=None,
                source=Source.NONE,
                subprotocol=offer.subprotocol,
                bad_cookie=offer.bad_cookie or offer.source is Source.COOKIE,
                native_ping=offer.native_ping,
                protobuf=offer.protobuf,
            )
        _require_scopes(credentials, [verifier.required_scope(credentials), *scopes])
        return Admission(
            credentials=credentials,
            source=offer.source,
            subprotocol=offer.subprotocol,
            native_ping=offer.native_ping,
            protobuf=offer.protobuf,
        )

    def _find_verifier(self, connection: HTTPConnection) -> Verifier:
        verifier = self._verifier or getattr(connection.app.state, "verifier", None)
        if not isinstance(verifier, Verifier):
            raise ConfigurationError(
                "OAuth2WebSocketPasswordBearer needs verifier=… or app.state.verifier"
            )
        return verifier

    def _read_offer(self, connection: HTTPConnection, verifier: Verifier) -> Offer:
        scope: Any = connection.scope
        if scope["type"] == "websocket":
            return read_handshake(
                scope["headers"],
                scope["query_string"],
                origins=verifier.origins,
                subprotocols=self._subprotocols,
                query_token=self._query_token,
            )
        return read_request(
            scope["headers"],
            scope["query_string"],
            method=scope["method"],
            origins=verifier.origins,
            query_token=self._query_token,
        )

    async def _verify(self, offer: Offer, verifier: Verifier) -> Credentials | None:
        """Return the credentials of the offered token, None if it is a bad cookie."""
        try:
            return await verifier.verify(offer.token or "")
        except InvalidToken as error:
            if offer.source is Source.COOKIE:
                # The browser sends it unasked, and cannot connect to renew it if it is refused.
                return None
            raise HandshakeRejected(
                401, "the token is not valid", challenge("invalid_token")
            ) from error
        except CannotVerify as error:
            raise HandshakeRejected(
                503, "tokens cannot be checked now", {"Retry-After": "1"}
            ) from error


def _require_scopes(credentials: Credentials, scopes: Iterable[str]) -> None:
    needed = [scope for scope in scopes if scope]
    if not credentials.scopes.issuperset(needed):
        raise HandshakeRejected(
            403,
            "the token's scope is not enough",
            challenge("insufficient_scope", scope=" ".join(needed)),
        )
