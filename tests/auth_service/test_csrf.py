"""What ties a form to a browser."""

from __future__ import annotations

import pytest

from auth_service.csrf import FormTokens

OLD, NEW = b"o" * 32, b"n" * 32


def test_a_form_goes_with_the_cookie_it_was_made_for() -> None:
    """And with no other one."""
    tokens = FormTokens([NEW])
    mine, other = tokens.cookie(None), tokens.cookie(None)

    assert mine != other
    assert tokens.agrees(tokens.token(mine), mine)
    assert not tokens.agrees(tokens.token(mine), other)


def test_a_cookie_is_kept_unless_it_is_not_ours() -> None:
    """Two pages side by side share it."""
    tokens = FormTokens([NEW])
    cookie = tokens.cookie(None)

    assert tokens.cookie(cookie) == cookie
    assert tokens.cookie("x; Path=/") != "x; Path=/"


def test_keys_can_be_replaced() -> None:
    """The first one makes, all of them check."""
    cookie = FormTokens([OLD]).cookie(None)
    token = FormTokens([OLD]).token(cookie)

    assert FormTokens([NEW, OLD]).agrees(token, cookie)
    assert not FormTokens([NEW]).agrees(token, cookie)


@pytest.mark.parametrize("token", [None, "", "x", "\ud800", "\u00e4" * 43])
def test_anything_else_is_refused(token: str | None) -> None:
    """Without an error."""
    tokens = FormTokens([NEW])
    cookie = tokens.cookie(None)

    assert not tokens.agrees(token, cookie)
    assert not tokens.agrees(token, None)
    assert not tokens.agrees(tokens.token("short"), "short")
