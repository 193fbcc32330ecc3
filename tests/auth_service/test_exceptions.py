"""The errors' wire form."""

from __future__ import annotations

from auth_service.exceptions import (
    BearerError,
    InvalidClient,
    InvalidGrant,
    InvalidRequest,
    Overloaded,
    StoreUnavailable,
)


def test_a_client_that_used_basic_is_told_the_scheme() -> None:
    """RFC 6749 section 5.2: 401 with WWW-Authenticate if the Authorization header was used."""
    assert InvalidClient("no", basic=True).headers["WWW-Authenticate"].startswith("Basic ")
    assert InvalidClient("no").headers == {}
    assert InvalidClient("no").status == 401


def test_codes_are_those_of_the_standard() -> None:
    """RFC 6749 section 5.2: 400 and the exact word."""
    assert (InvalidGrant().status, InvalidGrant().error) == (400, "invalid_grant")
    assert InvalidRequest("no", status=413).status == 413


def test_missing_credentials_get_a_challenge_without_error() -> None:
    """RFC 6750 section 3.1: no error code when no authentication was tried."""
    bare = BearerError(401, None, "a token is required")

    assert bare.headers["WWW-Authenticate"] == 'Bearer realm="drawbridge"'


def test_unavailable_says_when_to_come_again() -> None:
    """A 503 carries Retry-After in whole seconds."""
    for error in (Overloaded(), StoreUnavailable()):
        assert error.status == 503
        assert int(error.headers["Retry-After"]) >= 1
