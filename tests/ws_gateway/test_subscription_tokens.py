"""Tokens for one subscription (protocol section 16.2)."""

from __future__ import annotations

from math import inf
from typing import Any

import pytest

from tests.ws_gateway.hmac_backend import SECRET, sign
from ws_gateway.credentials import SubscriptionGrant
from ws_gateway.exceptions import InvalidToken, TokenExpired
from ws_gateway.subscription_tokens import SubscriptionToken, SubscriptionTokens

NOW = 1_900_000_000
TOKENS = SubscriptionTokens(SECRET, now=lambda: NOW)


def verify(**claims: Any) -> SubscriptionToken:  # noqa: ANN401 - any claims
    """Judge a token of these claims."""
    return TOKENS.verify(sign(claims))


def test_all_claims_are_read() -> None:
    """The channel is needed; without an end it lasts for ever."""
    token = verify(sub="42", channel="$news", client="c", info={"a": 1}, data=[2], exp=NOW + 9)

    assert token == SubscriptionToken(
        channel="$news",
        user="42",
        client="c",
        grant=SubscriptionGrant(info=b'{"a":1}', data=b"[2]", expires_at=NOW + 9),
    )
    assert verify(channel="news").grant.expires_at == inf
    assert verify(channel="news", exp=NOW + 1, expire_at=0).grant.expires_at == inf


@pytest.mark.parametrize(
    ("claims", "fits"),
    [
        ({"sub": "42", "channel": "news"}, True),
        ({"sub": "42", "channel": "news", "client": "c"}, True),
        ({"sub": "42", "channel": "news", "client": ""}, True),
        ({"sub": "42", "channel": "news", "client": "d"}, False),
        ({"sub": "42", "channel": "other"}, False),
        ({"sub": "43", "channel": "news"}, False),
        ({"channel": "news"}, False),
    ],
)
def test_it_is_for_one_channel_and_user(claims: dict[str, Any], fits: bool) -> None:
    """And for one connection, if it says so."""
    assert verify(**claims).is_for(channel="news", user="42", client="c") is fits


def test_guests_token_is_for_guests() -> None:
    """An empty ``sub``, or none."""
    assert verify(channel="news").is_for(channel="news", user="", client="c")
    assert verify(channel="news", sub="").is_for(channel="news", user="", client="c")


def test_expired_one_is_told_apart() -> None:
    """109, not 103."""
    with pytest.raises(TokenExpired):
        verify(channel="news", exp=NOW)


@pytest.mark.parametrize(
    ("claims", "word"),
    [
        ({}, "channel"),
        ({"channel": ""}, "channel"),
        ({"channel": ["news"]}, "channel"),
        ({"channel": "news", "sub": 42}, "sub"),
        ({"channel": "news", "client": 7}, "client"),
        ({"channel": "news", "exp": "soon"}, "exp"),
        ({"channel": "news", "override": []}, "override"),
    ],
)
def test_claim_of_another_kind_is_refused(claims: dict[str, Any], word: str) -> None:
    """A connection token above all: it opens no channel."""
    with pytest.raises(InvalidToken, match=f"^{word}$"):
        verify(**claims)


@pytest.mark.parametrize("token", ["", "x", "invalid", "a.b.c", "é", "x" * 5000])
def test_any_other_text_is_refused(token: str) -> None:
    """SDKs' suites send such."""
    with pytest.raises(InvalidToken):
        TOKENS.verify(token)


def test_other_secret_is_refused() -> None:
    """It is the same as for connection tokens."""
    with pytest.raises(InvalidToken, match="signature"):
        TOKENS.verify(sign({"channel": "news"}, secret=b"x" * 32))
