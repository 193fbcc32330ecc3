"""PKCE."""

from __future__ import annotations

import pytest

from auth_service import pkce

# RFC 7636 appendix B.
VERIFIER = "dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk"
CHALLENGE = "E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM"


def test_the_example_of_the_rfc_agrees() -> None:
    """Appendix B."""
    assert pkce.is_challenge(CHALLENGE)
    assert pkce.proves(VERIFIER, CHALLENGE)


@pytest.mark.parametrize("verifier", ["", VERIFIER[:-1] + "l", "a" * 42, "a" * 129, "\u00e4" * 43])
def test_another_verifier_proves_nothing(verifier: str) -> None:
    """42 and 129 characters are no verifiers at all (O21)."""
    assert not pkce.proves(verifier, CHALLENGE)


@pytest.mark.parametrize("text", ["", CHALLENGE + "A", CHALLENGE[:-1], CHALLENGE[:-1] + "B"])
def test_what_no_hash_can_look_like_is_no_challenge(text: str) -> None:
    """32 bytes in base64url have 43 characters, the last of which holds four bits."""
    assert not pkce.is_challenge(text)
