"""What is known of who is at the other end."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import FrozenInstanceError

import pytest

from ws_gateway.credentials import Credentials


def test_credentials_cannot_be_changed(alice: Credentials) -> None:
    """What a token said stays said: nobody may widen a scope later."""
    with pytest.raises(FrozenInstanceError):
        alice.user = "bob"  # type: ignore[misc]


def test_same_claims_are_the_same_credentials(
    make_credentials: Callable[..., Credentials],
) -> None:
    """They are values, comparable and hashable."""
    assert make_credentials("alice") == make_credentials("alice")
    assert len({make_credentials("alice"), make_credentials("bob")}) == 2


def test_optional_claims_are_absent_by_default(bob: Credentials) -> None:
    """Most tokens show nothing to others and name no channels."""
    assert bob.info is None
    assert bob.channels == ()
