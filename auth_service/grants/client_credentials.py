"""Client credentials (RFC 6749 section 4.4): a service, for itself."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping

from auth_service.caller import Caller
from auth_service.exceptions import InvalidScope, UnauthorizedClient
from auth_service.grants.base import require_grant
from auth_service.identifiers import new_identifier
from auth_service.issued import Issued
from auth_service.metrics import Metrics
from auth_service.models import CLIENT_PREFIX, Client, parse_scope
from auth_service.tokens import AccessTokens

_log = logging.getLogger(__name__)


class ClientCredentialsGrant:
    """A token for the client itself, whose subject is ``client:ID``, which no user can be called.

    There is no session and no refresh token: the client has its credentials and comes again. So
    nothing is written; the line in the log is the record.

    Args:
        tokens: Mints the token.
        metrics: Where tokens are counted.
        clock: Seconds since 1970.
    """

    name = "client_credentials"

    def __init__(
        self, *, tokens: AccessTokens, metrics: Metrics, clock: Callable[[], float]
    ) -> None:
        self._tokens = tokens
        self._metrics = metrics
        self._clock = clock

    async def exchange(self, *, client: Client, form: Mapping[str, str], caller: Caller) -> Issued:
        """Mint a token for a client that has proved who it is.

        Raises:
            UnauthorizedClient: It is public, or not registered for this grant.
            InvalidScope: The scope is malformed, empty, or wider than the client's.
        """
        require_grant(client, self.name)
        if client.public:
            raise UnauthorizedClient("this client may not use the grant type")
        scopes = _scopes(form.get("scope"), client)
        sub = CLIENT_PREFIX + client.id
        token = self._tokens.mint(
            sub=sub,
            client_id=client.id,
            scopes=scopes,
            sid=new_identifier(),
            now=self._clock(),
            after=client.tokens_after,
        )
        self._metrics.tokens_issued.labels(grant_type=self.name).inc()
        _log.info(
            "token_issued",
            extra={
                "sub": sub,
                "client_id": client.id,
                "jti": token.jti,
                "sid": token.sid,
                "address": caller.address,
            },
        )
        return Issued(token.text, token.expires_in, " ".join(sorted(scopes)))


def _scopes(text: str | None, client: Client) -> frozenset[str]:
    requested = client.scopes if text is None else parse_scope(text)
    if requested is None:
        raise InvalidScope("the scope is malformed")
    if not requested or not requested <= client.scopes:
        raise InvalidScope("the scope is wider than what this client may have")
    return requested
