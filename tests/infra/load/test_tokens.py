"""Tokens in bulk, and whether the front trusts them."""

from __future__ import annotations

import asyncio
import time
from pathlib import Path

import pytest

from auth_service.app import open_service
from auth_service.keys import load_keys
from auth_service.sealing import load_secret_keys
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


def _settings(folder: Path, **changes: str) -> Settings:
    variables = {
        "AUTH_DATABASE_URL": f"sqlite+aiosqlite:///{folder}/auth.db",
        "AUTH_KEYS_DIR": str(folder),
    }
    return Settings.from_environment(variables | changes)


@pytest.mark.parametrize("source", ["database", "files"])
def test_no_key_is_made(tmp_path: Path, source: str) -> None:
    """A new one is nobody's."""
    with pytest.raises(LoadError, match="make up"):
        tokens.stack_keys(_settings(tmp_path, AUTH_KEYS_SOURCE=source))

    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("content", [None, b""])
def test_a_sealing_key_without_keys_is_not_enough(tmp_path: Path, content: bytes | None) -> None:
    """No database, or one in which nobody ever started."""
    load_secret_keys("", tmp_path)
    if content is not None:
        (tmp_path / "auth.db").write_bytes(content)

    with pytest.raises(LoadError, match="make up"):
        tokens.stack_keys(_settings(tmp_path))


@pytest.mark.parametrize("source", ["database", "files"])
def test_the_stacks_key_is_loaded(tmp_path: Path, source: str) -> None:
    """The one that signs there."""
    settings = _settings(tmp_path, AUTH_KEYS_SOURCE=source)

    async def start() -> str:
        async with open_service(settings) as service:
            return service.keys.at(time.time()).signing.kid

    kid = asyncio.run(start())

    assert tokens.stack_keys(settings).signing.kid == kid


def test_nothing_there_says_what_to_type(front: Embedded) -> None:
    """In one line."""
    (port,) = free_ports(1)

    with pytest.raises(LoadError, match=r"nothing answers at .*make up LIMITS=load GATEWAYS=2$"):
        tokens.check(f"wss://localhost:{port}", certificates=front.local / "ca.pem", kid="x")


def test_another_stack_is_recognised(front: Embedded) -> None:
    """Its gateways would refuse every user."""
    local, host = front.local, f"wss://localhost:{front.front}"
    stack = Settings.from_environment(
        {
            "AUTH_DATABASE_URL": f"sqlite+aiosqlite:///{local}/auth.db",
            "AUTH_KEYS_DIR": f"{local}/keys",
        }
    )
    kid = tokens.stack_keys(stack).signing.kid

    tokens.check(host, certificates=local / "ca.pem", kid=kid)

    with pytest.raises(LoadError, match="another stack"):
        tokens.check(host, certificates=local / "ca.pem", kid="another")
