"""The authorization endpoint's decisions: may this client ask, and where does the answer go.

A refusal is sent to an address of the client's only after that address was found to be registered;
before, it is shown (RFC 6749 section 4.1.2.1, RFC 9700 section 4.11).
"""

from __future__ import annotations

import secrets
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from urllib.parse import urlencode

from auth_service import audit, pkce
from auth_service.audit import AuditEvent
from auth_service.caller import Caller
from auth_service.clients import ClientAuthenticator
from auth_service.exceptions import (
    AuthorizationRefused,
    InvalidRequest,
    InvalidScope,
    OAuth2Error,
)
from auth_service.grants.authorization_code import AuthorizationCodeGrant
from auth_service.grants.base import granted_scopes, requested_scopes, require_grant
from auth_service.grants.codes import hash_code
from auth_service.models import CLIENT_ONLY_SCOPES, Client, User
from auth_service.redirect_uris import is_registered
from auth_service.sessions import good_standing
from auth_service.store import authorization_codes
from auth_service.store.authorization_codes import AuthorizationCode
from auth_service.store.database import Database

CODE_SECONDS = 60
MAX_STATE_CHARACTERS = 1024
#: What of a request is carried from the page to its answer.
PARAMETERS = (
    "client_id",
    "redirect_uri",
    "response_type",
    "response_mode",
    "state",
    "scope",
    "code_challenge",
    "code_challenge_method",
)


@dataclass(frozen=True, slots=True)
class AuthorizationRequest:
    """A request that may be shown to a user.

    Args:
        client: Who asks.
        redirect_uri: Where the answer goes; registered.
        state: What the client wants back; None: it sent none.
        challenge: The PKCE challenge.
        requested: What it asks for; None: all it may have.
    """

    client: Client
    redirect_uri: str
    state: str | None
    challenge: str
    requested: frozenset[str] | None

    @property
    def scopes(self) -> frozenset[str]:
        """What the user is asked for, at most."""
        return self.client.scopes - CLIENT_ONLY_SCOPES if self.requested is None else self.requested


class Authorization:
    """Reads requests for codes and answers them.

    Args:
        clients: Knows the clients.
        database: Where codes are kept.
        issuer: Told to the client beside every answer (RFC 9207), so that it cannot be led to send
            our code to another server.
        clock: Seconds since 1970.
    """

    def __init__(
        self,
        *,
        clients: ClientAuthenticator,
        database: Database,
        issuer: str,
        clock: Callable[[], float],
    ) -> None:
        self._clients = clients
        self._database = database
        self._issuer = issuer
        self._clock = clock

    async def read(self, parameters: Mapping[str, str]) -> AuthorizationRequest:
        """Check a request.

        Args:
            parameters: Of the query or the form, empty ones left out.

        Raises:
            InvalidRequest: The client or its address is not known: nobody to send the browser to.
            AuthorizationRefused: Something else is wrong, and the client is told.
            StoreUnavailable: The database does not answer.
        """
        client = await self._clients.find(parameters.get("client_id", ""))
        if client is None:
            raise InvalidRequest("the program that sent you here is not known")
        redirect_uri = parameters.get("redirect_uri", "")
        if not is_registered(redirect_uri, client.redirect_uris):
            raise InvalidRequest("the program that sent you here named an address that is not its")
        state = parameters.get("state")
        try:
            return self._check(client, redirect_uri, state, parameters)
        except AuthorizationRefused:
            raise
        except OAuth2Error as error:
            # A state that is too long is not repeated.
            echoed = state if _state_fits(state) else None
            raise self._refused(redirect_uri, echoed, error.error, error.description) from None

    async def approve(self, request: AuthorizationRequest, user: User, caller: Caller) -> str:
        """Store a code for a user who has just logged in; returns where the browser goes.

        Raises:
            AuthorizationRefused: The user may have nothing of what is asked for.
            InvalidGrant: Since the log-in the user was shut out, or the password replaced.
            StoreUnavailable: The database does not answer.
        """
        try:
            scopes = granted_scopes(request.requested, request.client, user)
        except InvalidScope as error:
            raise self._refused(
                request.redirect_uri, request.state, error.error, error.description
            ) from None
        now = self._clock()
        code = "ac_" + secrets.token_urlsafe(32)
        async with self._database.write() as connection:
            standing = await good_standing(connection, user, request.client)
            await authorization_codes.add(
                connection,
                hash_code(code),
                AuthorizationCode(
                    client_id=request.client.id,
                    user_id=user.id,
                    redirect_uri=request.redirect_uri,
                    challenge=request.challenge,
                    scope=" ".join(sorted(scopes)),
                    # After the last log-out everywhere, be it of this very second.
                    auth_time=max(int(now), standing.user_tokens_after + 1),
                ),
                expires_at=int(now) + CODE_SECONDS,
            )
            event = AuditEvent(
                event="authorization_approved",
                actor=user.id,
                subject=user.id,
                client_id=request.client.id,
                caller=caller,
            )
            await audit.record(connection, event, now=now)
        return self._location(request.redirect_uri, request.state, code=code)

    def deny(self, request: AuthorizationRequest) -> str:
        """Return where the browser goes if the user does not agree."""
        return self._location(
            request.redirect_uri,
            request.state,
            error="access_denied",
            error_description="the user refused",
        )

    def _check(
        self,
        client: Client,
        redirect_uri: str,
        state: str | None,
        parameters: Mapping[str, str],
    ) -> AuthorizationRequest:
        if not _state_fits(state):
            raise InvalidRequest("state is too long")
        response_type = parameters.get("response_type")
        if response_type is None:
            raise InvalidRequest("response_type is required")
        if response_type != "code":
            raise self._refused(
                redirect_uri, state, "unsupported_response_type", "response_type must be code"
            )
        if parameters.get("response_mode", "query") != "query":
            raise InvalidRequest("response_mode must be query")
        require_grant(client, AuthorizationCodeGrant.name)
        challenge = parameters.get("code_challenge", "")
        # A method that is left out means `plain` (RFC 7636 section 4.3), which proves little.
        if parameters.get("code_challenge_method") != pkce.METHOD:
            raise InvalidRequest("code_challenge_method must be S256")
        if not pkce.is_challenge(challenge):
            raise InvalidRequest("code_challenge must be a SHA-256 in base64url")
        requested = requested_scopes(parameters.get("scope"), client)
        return AuthorizationRequest(client, redirect_uri, state, challenge, requested)

    def _refused(
        self, redirect_uri: str, state: str | None, error: str, description: str
    ) -> AuthorizationRefused:
        location = self._location(redirect_uri, state, error=error, error_description=description)
        return AuthorizationRefused(error, description, location=location)

    def _location(self, redirect_uri: str, state: str | None, **answer: str) -> str:
        if state is not None:
            answer["state"] = state
        answer["iss"] = self._issuer
        separator = "&" if "?" in redirect_uri else "?"
        return redirect_uri + separator + urlencode(answer)


def _state_fits(state: str | None) -> bool:
    return len(state or "") <= MAX_STATE_CHARACTERS
