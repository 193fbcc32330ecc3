"""The authorization server's errors.

Who erred is in the type::

    AuthError
    ├── ConfigurationError      a setting is wrong; the start stops with this one line
    ├── AccountError            an operator's order cannot be carried out
    │   ├── InvalidUsername
    │   ├── UsernameTaken
    │   ├── WeakPassword
    │   ├── ClientConflict
    │   ├── NoSuchAccount
    │   ├── KeyRefused
    │   └── TokenRefused
    ├── SchemaError             the database's tables are not this version's
    ├── InvalidToken            an access token that is not accepted
    └── RequestError            a request ends with a status and a JSON body
        ├── OAuth2Error         RFC 6749 section 5.2
        │   ├── InvalidRequest
        │   ├── InvalidClient
        │   ├── InvalidGrant
        │   ├── UnauthorizedClient
        │   ├── UnsupportedGrantType
        │   ├── InvalidScope
        │   ├── AuthorizationRefused  RFC 6749 section 4.1.2.1: the browser is sent back with it
        │   └── DeviceAnswer    RFC 8628 section 3.5: not yet, not so fast, no, too late
        ├── BearerError         RFC 6750 section 3
        ├── SessionOver         401: a browser has to log in again
        ├── NotFound            404
        ├── OriginRefused       a browser's request that another site's page may have sent
        ├── FormRefused         a form of our own that this browser was not given
        ├── TooManyAttempts     429, try again later
        └── Unavailable         503, try again later
            ├── Overloaded
            ├── Stopping
            └── StoreUnavailable

Every description is a literal of this package: plain ASCII without quotation mark and backslash
(RFC 6749 section 5.2), and never a word that the client sent.
"""

from __future__ import annotations

from typing import ClassVar

REALM = "drawbridge"


class AuthError(Exception):
    """The root: everything this service raises on purpose."""


class ConfigurationError(AuthError):
    """A setting is missing, malformed or unsafe; the text is one line that names the variable."""


class AccountError(AuthError):
    """An order about a user, a client or a key cannot be carried out; the text is for people."""


class InvalidUsername(AccountError):
    """A name that no user may have."""


class UsernameTaken(AccountError):
    """A user of this name, or of one that looks the same, exists already."""


class WeakPassword(AccountError):
    """A new password outside the policy."""


class ClientConflict(AccountError):
    """A client of this id exists and is of another kind."""


class NoSuchAccount(AccountError):
    """There is no such user, client or session."""


class KeyRefused(AccountError):
    """A signing key cannot be made or revoked as ordered."""


class TokenRefused(AccountError):
    """A token cannot be looked at or revoked as ordered."""


class SchemaError(AuthError):
    """The database's tables cannot be used as they are; the text is one line for the operator."""


class InvalidToken(AuthError):
    """An access token was not accepted.

    Args:
        reason: A short word for logs and tests, such as ``signature``; never text of the token and
            never a library's message.
    """

    def __init__(self, reason: str) -> None:
        self.reason = reason
        super().__init__(reason)


class RequestError(AuthError):
    """A request ends with this status and a small JSON object.

    Args:
        status: HTTP status code, 400 to 599.
        error: The machine's word, the value of ``error``.
        description: A sentence for the developer of the client.
        headers: Further response headers.
    """

    def __init__(
        self,
        status: int,
        error: str,
        description: str,
        headers: dict[str, str] | None = None,
    ) -> None:
        self.status = status
        self.error = error
        self.description = description
        self.headers = headers or {}
        super().__init__(f"{status} {error}: {description}")


class OAuth2Error(RequestError):
    """An answer of the token endpoint as RFC 6749 section 5.2 words it."""

    code: ClassVar[str] = "invalid_request"

    def __init__(
        self, description: str, *, status: int = 400, headers: dict[str, str] | None = None
    ) -> None:
        super().__init__(status, self.code, description, headers)


class InvalidRequest(OAuth2Error):
    """A parameter is missing, repeated or malformed, or the body is no form."""


class InvalidClient(OAuth2Error):
    """The client is unknown or did not prove who it is.

    Args:
        description: A sentence for the developer of the client.
        basic: The client used the ``Authorization`` header, so the answer names the scheme
            (RFC 6749 section 5.2).
    """

    code = "invalid_client"

    def __init__(self, description: str, *, basic: bool = False) -> None:
        headers = {"WWW-Authenticate": f'Basic realm="{REALM}", charset="UTF-8"'} if basic else None
        super().__init__(description, status=401, headers=headers)


class InvalidGrant(OAuth2Error):
    """The credentials are not good; one text for every cause, so that none can be told apart.

    Args:
        description: A sentence for the developer of the client; that of a log-in unless given.
    """

    code = "invalid_grant"

    def __init__(self, description: str = "wrong user name or password") -> None:
        super().__init__(description)


class UnauthorizedClient(OAuth2Error):
    """This client may not use this grant."""

    code = "unauthorized_client"


class UnsupportedGrantType(OAuth2Error):
    """This server has no such grant."""

    code = "unsupported_grant_type"


class InvalidScope(OAuth2Error):
    """The scope is malformed, unknown or wider than client and user together allow."""

    code = "invalid_scope"


class AuthorizationRefused(OAuth2Error):
    """A browser goes back to the client with a refusal (RFC 6749 section 4.1.2.1).

    Args:
        error: The machine's word.
        description: A sentence for the developer of the client.
        location: A registered address of the client's, with the refusal in it.
    """

    def __init__(self, error: str, description: str, *, location: str) -> None:
        super().__init__(description)
        self.error = error
        self.location = location


class DeviceAnswer(OAuth2Error):
    """A device is told how far its user is (RFC 8628 section 3.5).

    Args:
        word: One of `TEXTS`.
    """

    TEXTS: ClassVar[dict[str, str]] = {
        "authorization_pending": "the user has not decided yet",
        "slow_down": "wait five seconds more between two requests than before",
        "access_denied": "the user refused",
        "expired_token": "the device code has expired",
    }

    def __init__(self, word: str) -> None:
        super().__init__(self.TEXTS[word])
        self.error = word


class BearerError(RequestError):
    """A protected resource refuses its caller (RFC 6750 section 3).

    Args:
        status: 400, 401 or 403.
        error: ``invalid_request``, ``invalid_token`` or ``insufficient_scope``; None if no
            credential came at all, for then the challenge carries no error (RFC 6750 section 3.1).
        description: A sentence for the developer of the client.
    """

    def __init__(self, status: int, error: str | None, description: str) -> None:
        challenge = f'Bearer realm="{REALM}"'
        if error is not None:
            challenge += f', error="{error}", error_description="{description}"'
        headers = {"WWW-Authenticate": challenge}
        super().__init__(status, error or "unauthorized", description, headers)


class SessionOver(RequestError):
    """A browser's refresh token is not good, so there is no session to go on with."""

    def __init__(self) -> None:
        super().__init__(401, "invalid_grant", "the session is over")


class NotFound(RequestError):
    """There is no such thing, or it is none of the caller's business."""

    def __init__(self) -> None:
        super().__init__(404, "not_found", "there is no such thing")


class OriginRefused(RequestError):
    """A request that only our own pages may send came from another one, or from no page."""

    def __init__(self) -> None:
        super().__init__(403, "access_denied", "requests of this origin are not accepted")


class FormRefused(RequestError):
    """A form that was made for another browser, or for this one before it lost its cookies."""

    def __init__(self) -> None:
        description = "the page is out of date, or your browser keeps no cookies: open it again"
        super().__init__(403, "access_denied", description)


class TooManyAttempts(RequestError):
    """Somebody tries too often; nothing was looked at, and nothing is said about why.

    Args:
        retry_after_seconds: Whole seconds, at least 1.
    """

    def __init__(self, *, retry_after_seconds: int) -> None:
        headers = {"Retry-After": str(retry_after_seconds)}
        super().__init__(429, "too_many_attempts", "too many attempts, try again later", headers)


class Unavailable(RequestError):
    """The request may be sent again later; nothing was decided about it.

    Args:
        description: A sentence for the developer of the client.
        retry_after_seconds: Whole seconds, at least 1.
    """

    def __init__(self, description: str, *, retry_after_seconds: int) -> None:
        headers = {"Retry-After": str(retry_after_seconds)}
        super().__init__(503, "temporarily_unavailable", description, headers)


class Overloaded(Unavailable):
    """More passwords wait for their check than can be checked in time."""

    def __init__(self) -> None:
        super().__init__("too many logins at once, try again shortly", retry_after_seconds=2)


class Stopping(Unavailable):
    """This process is about to end."""

    def __init__(self) -> None:
        super().__init__("the service is stopping", retry_after_seconds=1)


class StoreUnavailable(Unavailable):
    """The database does not answer."""

    def __init__(self) -> None:
        super().__init__("the service cannot reach its data, try again", retry_after_seconds=5)
