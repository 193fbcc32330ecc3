"""The page on which a user agrees, and its answers."""

from __future__ import annotations

import html
import re
from dataclasses import replace
from urllib.parse import parse_qs, urlsplit

import httpx2
import pytest

from auth_service.app import Service
from auth_service.exceptions import Overloaded
from auth_service.models import User
from auth_service.store import clients
from tests.auth_service.conftest import Login

ORIGIN = {"Origin": "https://localhost:8443"}
REDIRECT = "https://app.example/cb?x=1"
CHALLENGE = "E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM"
QUERY = {
    "client_id": "web",
    "redirect_uri": REDIRECT,
    "response_type": "code",
    "state": 'a "state" & more',
    "scope": "connect",
    "code_challenge": CHALLENGE,
    "code_challenge_method": "S256",
}


@pytest.fixture(autouse=True)
async def web(service: Service, alice: User) -> User:
    """A public client with codes, and its user."""
    await service.registration.add(
        "web",
        name="Bits & Pieces",
        grants=["authorization_code", "refresh_token"],
        scope="connect",
        redirect_uris=[REDIRECT],
    )
    return alice


def _fields(page: str) -> dict[str, str]:
    """Read the hidden fields of a page, as a browser sends them back."""
    found = re.findall(r'<input type="hidden" name="([^"]*)" value="([^"]*)">', page)
    return {html.unescape(name): html.unescape(value) for name, value in found}


def _answer(answer: httpx2.Response) -> dict[str, str]:
    """Read what the browser takes back to the client."""
    assert answer.status_code == 303
    location = answer.headers["Location"]
    assert location.startswith(REDIRECT + "&")
    return {name: value for name, (value,) in parse_qs(urlsplit(location).query).items()}


async def _open(http: httpx2.AsyncClient, **changes: str) -> httpx2.Response:
    query = {name: value for name, value in {**QUERY, **changes}.items() if value}
    return await http.get("/authorize", params=query)


async def _send(
    http: httpx2.AsyncClient, page: str, headers: dict[str, str] = ORIGIN, **fields: str
) -> httpx2.Response:
    return await http.post("/authorize", data={**_fields(page), **fields}, headers=headers)


async def test_the_page_says_who_asks_and_loads_nothing_foreign(http: httpx2.AsyncClient) -> None:
    """No script, no frame around it, no cache; everything escaped; fit for readers."""
    answer = await _open(http)

    assert answer.status_code == 200
    assert "Bits &amp; Pieces asks for access" in answer.text
    assert "open connections" in answer.text
    assert "<script" not in answer.text
    assert 'lang="en"' in answer.text
    for name in ("username", "password"):
        assert f'<label for="{name}">' in answer.text
    policy = answer.headers["Content-Security-Policy"]
    assert "default-src 'none'" in policy
    assert "frame-ancestors 'none'" in policy
    assert "form-action 'self' https://app.example;" in policy
    assert answer.headers["Cache-Control"] == "no-store"
    cookie = answer.headers["Set-Cookie"]
    assert cookie.startswith("__Host-drawbridge-form=")
    assert {"HttpOnly", "Path=/", "SameSite=lax", "Secure"} <= set(cookie.split("; "))
    assert _fields(answer.text)["state"] == QUERY["state"]


async def test_a_log_in_sends_a_code_to_the_client(
    service: Service, http: httpx2.AsyncClient, password: str
) -> None:
    """With its state and our name (RFC 9207), by 303, which repeats no password."""
    page = await _open(http)

    answer = _answer(await _send(http, page.text, username="alice", password=password))

    assert answer.keys() == {"x", "code", "state", "iss"}
    assert (answer["state"], answer["iss"]) == (QUERY["state"], service.settings.issuer)


async def test_a_user_may_refuse(http: httpx2.AsyncClient) -> None:
    """Without typing anything."""
    page = await _open(http)

    answer = _answer(await _send(http, page.text, decision="deny"))

    assert (answer["error"], answer["state"]) == ("access_denied", QUERY["state"])
    assert "iss" in answer


async def test_a_wrong_password_shows_the_form_again(http: httpx2.AsyncClient) -> None:
    """With the name that was typed, escaped, and never with the password."""
    page = await _open(http)

    answer = await _send(http, page.text, username='"><b>', password="secret-word")

    assert answer.status_code == 400
    assert "Wrong user name or password." in answer.text
    assert "secret-word" not in answer.text
    assert "<b>" not in answer.text
    assert (await _send(http, answer.text, username="alice")).status_code == 400


async def test_an_overload_says_when_to_come_again(
    http: httpx2.AsyncClient, service: Service, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As at the token endpoint: one pipeline."""

    async def refuse(*_: object) -> None:
        raise Overloaded

    monkeypatch.setattr(service.hasher, "verify", refuse)
    page = await _open(http)
    answer = await _send(http, page.text, username="alice", password="x")

    assert answer.status_code == 503
    assert answer.headers["Retry-After"] == "2"
    assert "Too many log-ins" in answer.text


@pytest.mark.parametrize(
    "changes",
    [
        {"client_id": "nobody"},
        {"client_id": ""},
        {"redirect_uri": ""},
        {"redirect_uri": "https://app.example/cb"},
        {"redirect_uri": "https://evil.example/cb?x=1"},
        {"redirect_uri": "https://app.example/cb/../x"},
        {"redirect_uri": "https://app.example@evil.example/cb?x=1"},
        {"redirect_uri": "https://app.example:444/cb?x=1"},
    ],
)
async def test_nobody_is_sent_to_an_address_that_is_not_registered(
    http: httpx2.AsyncClient, changes: dict[str, str]
) -> None:
    """A page of ours says so (O21)."""
    answer = await _open(http, **changes)

    assert answer.status_code == 400
    assert "Location" not in answer.headers
    assert "This does not work" in answer.text
    assert "evil" not in answer.text


@pytest.mark.parametrize(
    ("changes", "error"),
    [
        ({"response_type": ""}, "invalid_request"),
        ({"response_type": "token"}, "unsupported_response_type"),
        ({"response_mode": "fragment"}, "invalid_request"),
        ({"code_challenge": ""}, "invalid_request"),
        ({"code_challenge": "short"}, "invalid_request"),
        ({"code_challenge_method": "plain"}, "invalid_request"),
        ({"code_challenge_method": ""}, "invalid_request"),
        ({"scope": "connect api"}, "invalid_scope"),
        ({"scope": "a  b"}, "invalid_scope"),
        ({"scope": " ".join(["x"] * 5000)}, "invalid_scope"),
    ],
)
async def test_other_mistakes_are_told_to_the_client(
    http: httpx2.AsyncClient, changes: dict[str, str], error: str
) -> None:
    """RFC 6749 section 4.1.2.1; PKCE is no choice."""
    answer = _answer(await _open(http, **changes))

    assert (answer["error"], answer["state"]) == (error, QUERY["state"])


async def test_a_long_state_is_not_repeated(http: httpx2.AsyncClient) -> None:
    """Its error says so."""
    answer = _answer(await _open(http, state="x" * 1025))

    assert answer["error"] == "invalid_request"
    assert "state" not in answer


async def test_a_client_without_the_grant_is_refused(
    http: httpx2.AsyncClient, service: Service
) -> None:
    """Even at its registered address."""
    found = await service.registration.find("web")
    assert found is not None
    async with service.database.write() as connection:
        await clients.replace(connection, replace(found, grants=frozenset()))

    assert _answer(await _open(http))["error"] == "unauthorized_client"


async def test_a_user_who_may_nothing_is_told_to_the_client(
    http: httpx2.AsyncClient, service: Service, password: str
) -> None:
    """The client asks for what this user has not."""
    await service.accounts.add("bob", password, scope="other")
    page = await _open(http)

    answer = _answer(await _send(http, page.text, username="bob", password=password))

    assert answer["error"] == "invalid_scope"


@pytest.mark.parametrize("headers", [{}, {"Origin": "null"}, {"Origin": "https://evil.example"}])
async def test_another_sites_form_is_refused(
    http: httpx2.AsyncClient, password: str, headers: dict[str, str]
) -> None:
    """Whatever is in it."""
    page = await _open(http)

    answer = await _send(http, page.text, headers, username="alice", password=password)

    assert answer.status_code == 403


async def test_a_form_of_another_browser_is_refused(
    http: httpx2.AsyncClient, password: str
) -> None:
    """Log-in CSRF: an attacker's own form, sent by the victim's browser."""
    page = await _open(http)
    http.cookies.clear()

    gone = await _send(http, page.text, username="alice", password=password)
    await _open(http)
    other = await _send(http, page.text, username="alice", password=password)

    assert (gone.status_code, other.status_code) == (403, 403)
    assert "out of date" in other.text


async def test_two_pages_side_by_side_both_work(http: httpx2.AsyncClient, password: str) -> None:
    """The second one does not take the first one's cookie away."""
    first = await _open(http)
    await _open(http)

    assert "code" in _answer(await _send(http, first.text, username="alice", password=password))


@pytest.mark.parametrize("query", ["client_id=a&client_id=b", "x=%ff", "x=" + "y" * 20_000])
async def test_a_malformed_query_is_a_page(http: httpx2.AsyncClient, query: str) -> None:
    """Repeated, not UTF-8, endless."""
    answer = await http.get(f"/authorize?{query}")

    assert answer.status_code == 400
    assert answer.headers["Content-Type"].startswith("text/html")


async def test_the_cookie_of_our_page_logs_nobody_in_here(
    http: httpx2.AsyncClient, login: Login
) -> None:
    """Name and password are typed."""
    http.cookies.set("__Host-drawbridge", (await login()).json()["access_token"])
    page = await _open(http)

    assert (await _send(http, page.text)).status_code == 400
