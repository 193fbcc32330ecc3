"""Tokens in bulk, and whether the front trusts them."""

from __future__ import annotations

import time
from pathlib import Path

import pytest

from auth_service.keys import load_keys
from auth_service.settings import Settings
from auth_service.tokens import AccessTokens
from infra.load import tokens
from infra.load.settings import LoadError
from tests.integration.embedded import Embedded, free_ports

ISSUER = "https://localhost:8443"


def test_every_user_has_a_token_of_the_issuer(tmp_path: Path) -> None:
    """The token service's own reader accepts them, for as long as the test lasts."""
    keys, now = load_keys(tmp_path, "ES256"), time.time()

    minted = tokens.mint(
        20, keys=keys, issuer=ISSUER, audience="drawbridge", lifetime_seconds=1200.5, now=now
    )

    reader = AccessTokens(keys=keys, issuer=ISSUER, audience="drawbridge", lifetime_seconds=600)
    claims = [reader.read(token, now=now + 1199) for token in minted]
    assert [one.sub for one in claims] == [f"load-{number}" for number in range(20)]
    assert {one.scope for one in claims} == {"connect"}
    assert len({one.jti for one in claims}) == 20


def test_no_key_is_made(tmp_path: Path) -> None:
    """A new one is nobody's."""
    with pytest.raises(LoadError, match="make up"):
        tokens.stack_keys(Settings(keys_dir=tmp_path))

    assert list(tmp_path.iterdir()) == []


def test_the_stacks_key_is_loaded(tmp_path: Path) -> None:
    """The one that signs there."""
    keys = load_keys(tmp_path, "ES256")

    assert tokens.stack_keys(Settings(keys_dir=tmp_path)).signing.kid == keys.signing.kid


def test_nothing_there_says_what_to_type(front: Embedded) -> None:
    """In one line."""
    (port,) = free_ports(1)

    with pytest.raises(LoadError, match=r"nothing answers at .*make up LIMITS=load GATEWAYS=2$"):
        tokens.check(f"wss://localhost:{port}", certificates=front.local / "ca.pem", kid="x")


def test_another_stack_is_recognised(front: Embedded) -> None:
    """Its gateways would refuse every user."""
    local, host = front.local, f"wss://localhost:{front.front}"
    kid = load_keys(local / "keys", "ES256").signing.kid

    tokens.check(host, certificates=local / "ca.pem", kid=kid)

    with pytest.raises(LoadError, match="another stack"):
        tokens.check(host, certificates=local / "ca.pem", kid="another")
