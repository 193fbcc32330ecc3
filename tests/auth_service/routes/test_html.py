"""Pages; `test_authorize` and `test_device` have them in use."""

from __future__ import annotations

from auth_service.exceptions import (
    InvalidGrant,
    InvalidRequest,
    Overloaded,
    StoreUnavailable,
    TooManyAttempts,
)
from auth_service.routes.html import consent, explain, message, refusal


def test_every_word_is_escaped() -> None:
    """Names, scopes, notes, fields, errors."""
    evil = "<i>\"'&"
    text = consent(
        action="/device",
        client_name=evil,
        scopes=[evil],
        hidden={evil: evil},
        note=evil,
        username=evil,
        error=evil,
    )

    assert "<i>" not in text
    assert "<i>" not in bytes(message(evil, evil).body).decode()


def test_a_refusal_keeps_status_and_headers() -> None:
    """And is a sentence."""
    answer = refusal(TooManyAttempts(retry_after_seconds=7))

    assert (answer.status_code, answer.headers["Retry-After"]) == (429, "7")
    assert "Too many attempts, try again later." in bytes(answer.body).decode()


def test_users_are_told_what_they_can_do_about_it() -> None:
    """Type again, wait, or neither."""
    again = {explain(InvalidGrant()), explain(InvalidRequest("too long"))}
    wait = {explain(Overloaded()), explain(TooManyAttempts(retry_after_seconds=1))}

    assert again == {"Wrong user name or password."}
    assert wait == {"Too many log-ins at the moment. Please try again shortly."}
    assert explain(StoreUnavailable()) == "Logging in is not possible at the moment."
