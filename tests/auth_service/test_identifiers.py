"""Ids of users, sessions and tokens."""

from __future__ import annotations

import secrets

import pytest

from auth_service.identifiers import new_identifier


def test_an_id_is_never_taken_for_an_option(monkeypatch: pytest.MonkeyPatch) -> None:
    """``sessions end SID`` once answered that SID was missing."""
    made = iter(["-a", "-", "_b-"])
    monkeypatch.setattr(secrets, "token_urlsafe", lambda _bytes: next(made))
    assert new_identifier() == "_b-"


def test_an_id_is_128_bits_of_base64url() -> None:
    """Two differ."""
    assert len(new_identifier()) == 22
    assert new_identifier() != new_identifier()
