"""Addresses for authorization codes."""

from __future__ import annotations

import pytest
from hypothesis import given, strategies as st

from auth_service.exceptions import AccountError
from auth_service.redirect_uris import check, is_registered, source


@pytest.mark.parametrize(
    "uri",
    [
        "https://app.example/cb",
        "https://app.example:8443/cb?a=b",
        "https://app.example",
        "http://127.0.0.1/cb",
        "http://[::1]:7000/cb",
        "http://localhost:3000/cb",
        "com.example.app:/cb",
    ],
)
def test_usual_addresses_can_be_registered(uri: str) -> None:
    """The web, programs on a desktop, apps."""
    check(uri)
    assert is_registered(uri, [uri])


@pytest.mark.parametrize(
    "uri",
    [
        "",
        "http://app.example/cb",
        "https://app.example/cb#fragment",
        "https://user@app.example/cb",
        "https://app.example/a/../cb",
        "https://app.example/a/%2E./cb",
        "https://app.example/c b",
        "https://app.example\\@evil.example/cb",
        "https://App.example/cb",
        "javascript:alert(1)",
        "data:text/html,x",
        "myapp:/cb",
        "//app.example/cb",
        "https:///cb",
        "https://app.example/" + "x" * 512,
    ],
)
def test_dangerous_addresses_cannot(uri: str) -> None:
    """RFC 9700 section 4.1."""
    with pytest.raises(AccountError):
        check(uri)


@pytest.mark.parametrize(
    "uri",
    [
        "https://app.example/cb/",
        "https://app.example/cb/../x",
        "https://app.example/CB",
        "https://app.example:443/cb",
        "https://app.example/cb?x=1",
        "https://app.example.evil.example/cb",
        "https://app.example@evil.example/cb",
        "http://app.example/cb",
        "",
    ],
)
def test_an_address_is_compared_to_the_letter(uri: str) -> None:
    """Suffix domains, userinfo, ports and paths of one's own (O21)."""
    assert not is_registered(uri, ["https://app.example/cb", "http://127.0.0.1/cb"])


def test_a_program_on_a_desktop_takes_any_port() -> None:
    """RFC 8252 section 7.3: loopback addresses only, and nothing but the port."""
    registered = ["http://127.0.0.1/cb", "http://localhost/cb"]

    assert is_registered("http://127.0.0.1:51234/cb", registered)
    for uri in (
        "http://127.0.0.1:51234/other",
        "http://127.0.0.2:51234/cb",
        "http://[::1]:51234/cb",
        "http://localhost:51234/cb",
        "http://127.0.0.1:51234@evil.example/cb",
        "https://127.0.0.1:51234/cb",
    ):
        assert not is_registered(uri, registered), uri


def test_a_source_is_what_a_policy_names() -> None:
    """Origin, or scheme for an app's own."""
    assert source("https://app.example:8443/cb?x=1") == "https://app.example:8443"
    assert source("com.example.app:/cb") == "com.example.app:"


@given(st.text())
def test_any_text_is_accepted_or_refused(text: str) -> None:
    """Never another error; and what is accepted equals itself."""
    try:
        check(text)
    except AccountError:
        return
    assert is_registered(text, [text])


@pytest.mark.parametrize(
    ("uri", "named"),
    [
        ("https://app.example:8443/cb?a=b", "https://app.example:8443"),
        ("com.example.app:/cb", "com.example.app:"),
        ("com.example.app://a;script-src'*'/cb", "com.example.app:"),
        ("http://[::1]:7000/cb", "http:"),
    ],
)
def test_a_policy_names_what_it_has_words_for(uri: str, named: str) -> None:
    """And nothing of an address can become another directive.

    A policy knows no IPv6 address (CSP 3 section 2.3.1), so its scheme must do.
    """
    check(uri)
    assert source(uri) == named
