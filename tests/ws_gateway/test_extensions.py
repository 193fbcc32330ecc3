"""Which offers of compression are met."""

from __future__ import annotations

import pytest
from hypothesis import given, strategies as st

from ws_gateway.extensions import agree

AGREED = "permessage-deflate; server_no_context_takeover; client_no_context_takeover"


@pytest.mark.parametrize(
    "offer",
    [
        "permessage-deflate",
        "permessage-deflate; client_max_window_bits",
        "permessage-deflate; client_max_window_bits=10",
        'permessage-deflate;client_max_window_bits="15"',
        "permessage-deflate; server_no_context_takeover; client_no_context_takeover",
        "x-webkit-deflate-frame, permessage-deflate",
        "permessage-deflate; server_max_window_bits=10, permessage-deflate",
        "permessage-deflate; unknown, permessage-deflate; client_max_window_bits",
    ],
)
def test_what_browsers_and_libraries_offer_is_met(offer: str) -> None:
    """The first offer that can be."""
    assert agree([offer]) == AGREED


def test_a_window_that_was_asked_for_is_confirmed() -> None:
    """RFC 7692 section 7.1.2.1: it is answered, where it is the one we have."""
    assert agree(["permessage-deflate; server_max_window_bits=15"]) == (
        f"{AGREED}; server_max_window_bits=15"
    )


@pytest.mark.parametrize(
    "offer",
    [
        "",
        ",",
        ";",
        "deflate-frame",
        "permessage-deflate; server_max_window_bits",
        "permessage-deflate; server_max_window_bits=10",
        "permessage-deflate; server_max_window_bits=16",
        "permessage-deflate; client_max_window_bits=7",
        "permessage-deflate; client_max_window_bits=015",
        "permessage-deflate; client_max_window_bits=",
        "permessage-deflate; server_no_context_takeover=1",
        "permessage-deflate; server_no_context_takeover; server_no_context_takeover",
        "permessage-deflate; foo",
        "permessage-deflate; foo=1",
        "permessage-deflate; =",
        "permessage-deflate;",
        "permessage-deflatex",
    ],
)
def test_odd_offers_are_passed_over(offer: str) -> None:
    """W29: negotiated away, without an error."""
    assert agree([offer]) is None


def test_several_headers_are_one_list() -> None:
    """And a list without end is not read to its end."""
    assert agree(["foo", "permessage-deflate"]) == AGREED
    assert agree([]) is None
    assert agree(["foo," * 1000 + "permessage-deflate"]) is None


@given(st.lists(st.text()))
def test_nothing_else_comes_out(values: list[str]) -> None:
    """Nothing of an offer is ever in the answer."""
    assert agree(values) in {None, AGREED, f"{AGREED}; server_max_window_bits=15"}
