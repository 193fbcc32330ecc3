"""``/session``."""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable
from http.cookies import SimpleCookie

import httpx2
import pytest
from sqlalchemy import update

from auth_service.app import Service, create_app, open_service
from auth_service.models import User
from auth_service.passwords import HashParameters
from auth_service.settings import Settings
from auth_service.store import revocations, users
from auth_service.store.tables import CLIENTS
from tests.auth_service.conftest import Clock, Login

ORIGIN = "https://localhost:8443"
COOKIE = "__Host-drawbridge"
REFRESH_COOKIE = "__Secure-drawbridge-refresh"
FOREIGN = [
    "",
    "null",
    "https://localhost",
    "https://localhost:8443/",
    "https://localhost:84430",
    "https://LOCALHOST:8443",
    "http://localhost:8443",
    "https://evil.example",
    "https://localhost:8443.evil.example",
    f"{ORIGIN}, {ORIGIN}",
]
LogIn = Callable[..., Awaitable[httpx2.Response]]


@pytest.fixture
def log_in(http: httpx2.AsyncClient, alice: User, password: str) -> LogIn:
    """Log in as alice by JSON; keywords replace members and None leaves one out."""

    async def send(**changes: object) -> httpx2.Response:
        members = {"username": alice.username, "password": password, **changes}
        body = {name: value for name, value in members.items() if value is not None}
        return await http.post("/session", json=body, headers={"Origin": ORIGIN})

    return send


def _hashes(service: Service) -> float:
    name = "auth_password_hash_seconds_count"
    return service.metrics.registry.get_sample_value(name) or 0.0


def _cookies(answer: httpx2.Response) -> SimpleCookie:
    cookies: SimpleCookie = SimpleCookie()
    for header in answer.headers.get_list("set-cookie"):
        cookies.load(header)
    return cookies


def _assert_refused(answer: httpx2.Response, status: int, error: str) -> None:
    assert (answer.status_code, answer.json()["error"]) == (status, error)
    assert answer.json().keys() == {"error", "error_description"}
    assert "Set-Cookie" not in answer.headers
    assert answer.headers["Cache-Control"] == "no-store"


async def test_the_right_password_gets_cookies_of_this_very_host(
    service: Service, log_in: LogIn, http: httpx2.AsyncClient
) -> None:
    """Unseen by scripts, over TLS, for no other site and no other host, as long as the token."""
    answer = await log_in()

    assert (answer.status_code, answer.content) == (204, b"")
    assert answer.headers["Cache-Control"] == "no-store"
    cookies = _cookies(answer)
    expected = {COOKIE: ("/", "600"), REFRESH_COOKIE: ("/session", "604800")}
    assert {
        name: (morsel["path"], morsel["max-age"]) for name, morsel in cookies.items()
    } == expected
    for morsel in cookies.values():
        assert morsel["domain"] == ""
        assert morsel["secure"]
        assert morsel["httponly"]
        assert morsel["samesite"].lower() == "strict"
    morsel = cookies[COOKIE]
    claims = service.tokens.read(morsel.value, now=service.clock())
    assert (claims.client_id, claims.scope) == ("chat", "connect")
    http.cookies.set(COOKIE, morsel.value)
    assert (await http.get("/users/me")).json()["username"] == "alice"


async def test_unknown_wrong_and_disabled_are_one_answer(
    service: Service, log_in: LogIn, http: httpx2.AsyncClient, password: str
) -> None:
    """The same as that of /token, at the same cost."""
    gone = await service.accounts.add("gone", password)
    async with service.database.write() as connection:
        await users.set_disabled(connection, gone.id, disabled=True)
    form = {"grant_type": "password", "username": "alice", "password": "wrong"}
    token_answer = await http.post("/token", data=form)

    for changes in ({"password": "wrong"}, {"username": "nobody"}, {"username": "gone"}):
        before = _hashes(service)
        answer = await log_in(**changes)
        _assert_refused(answer, 400, "invalid_grant")
        assert answer.content == token_answer.content
        assert _hashes(service) - before == 1


@pytest.mark.parametrize(
    "changes",
    [
        {"username": None},
        {"password": ""},
        {"username": 1},
        {"password": ["x"]},
        {"username": "x" * 257},
        {"password": "x" * 257},
        {"password": "a\0b"},
        {"extra": {"nested": "x"}},
    ],
)
async def test_bad_members_are_refused_before_any_hash(
    service: Service, log_in: LogIn, changes: dict[str, object]
) -> None:
    """As at /token."""
    before = _hashes(service)

    _assert_refused(await log_in(**changes), 400, "invalid_request")

    assert _hashes(service) == before


@pytest.mark.parametrize("origin", FOREIGN)
async def test_a_foreign_page_is_refused(
    service: Service, http: httpx2.AsyncClient, alice: User, password: str, origin: str
) -> None:
    """Login CSRF and log-out CSRF: the origin is compared exactly, none is foreign as well."""
    before = _hashes(service)
    headers = {"Origin": origin} if origin else {}
    body = {"username": alice.username, "password": password}

    for method in ("POST", "DELETE"):
        answer = await http.request(method, "/session", json=body, headers=headers)
        _assert_refused(answer, 403, "access_denied")
    assert _hashes(service) == before


async def test_two_origins_are_foreign(http: httpx2.AsyncClient) -> None:
    """No browser sends two, and nobody should have to know which one counts."""
    headers = [("Origin", ORIGIN), ("Origin", "https://evil.example")]

    _assert_refused(await http.request("DELETE", "/session", headers=headers), 403, "access_denied")


@pytest.mark.parametrize(
    "content_type",
    ["application/x-www-form-urlencoded", "multipart/form-data; boundary=x", "text/plain", ""],
)
async def test_what_a_form_can_send_is_refused(
    http: httpx2.AsyncClient, alice: User, password: str, content_type: str
) -> None:
    """The three types that need no permission across sites (Fetch, CORS-safelisted), and none."""
    body = f'{{"username": "{alice.username}", "password": "{password}"}}'
    headers = {"Origin": ORIGIN, "Content-Type": content_type}
    if not content_type:
        del headers["Content-Type"]

    answer = await http.post("/session", content=body, headers=headers)

    _assert_refused(answer, 400, "invalid_request")


async def test_no_other_site_is_permitted_to_ask(http: httpx2.AsyncClient) -> None:
    """A browser's preflight gets no permission."""
    answer = await http.options(
        "/session",
        headers={"Origin": "https://evil.example", "Access-Control-Request-Method": "POST"},
    )

    assert answer.status_code == 405
    assert not [name for name in answer.headers if name.startswith("access-control")]


async def test_a_body_too_large_is_413(log_in: LogIn) -> None:
    """And the connection does not survive it."""
    answer = await log_in(username="x" * 20_000)

    _assert_refused(answer, 413, "invalid_request")
    assert answer.headers["Connection"] == "close"


async def test_the_client_is_the_page_whatever_the_request_says(
    service: Service, http: httpx2.AsyncClient, alice: User, password: str
) -> None:
    """A browser cannot borrow another client's permissions."""
    answer = await http.post(
        "/session",
        json={
            "username": alice.username,
            "password": password,
            "client_id": "nobody",
            "scope": "api",
        },
        headers={"Origin": ORIGIN, "Authorization": "Basic bm9ib2R5Ong="},
    )

    token = _cookies(answer)[COOKIE].value
    assert service.tokens.read(token, now=service.clock()).client_id == "chat"


async def test_without_a_default_client_nobody_logs_in(settings: Settings) -> None:
    """Production has none unless it is named."""
    bare = settings.model_copy(update={"default_client": ""})
    cheap = HashParameters(memory_kib=8, passes=1, lanes=1)
    async with open_service(bare, hash_parameters=cheap) as service:
        transport = httpx2.ASGITransport(create_app(service))
        async with httpx2.AsyncClient(transport=transport, base_url="https://localhost") as http:
            body = {"username": "alice", "password": "x"}
            answer = await http.post("/session", json=body, headers={"Origin": ORIGIN})

    _assert_refused(answer, 401, "invalid_client")


async def _refresh(
    http: httpx2.AsyncClient, token: str | None, origin: str = ORIGIN
) -> httpx2.Response:
    http.cookies.clear()  # what a browser would keep; here the test says what is sent
    headers = {"Origin": origin}
    if token is not None:
        headers["Cookie"] = f"{REFRESH_COOKIE}={token}"
    return await http.post("/session/refresh", headers=headers)


async def test_a_browser_stays_logged_in(
    service: Service, log_in: LogIn, http: httpx2.AsyncClient, clock: Clock
) -> None:
    """Both cookies anew, of the same session; two tabs at once get the same."""
    first = _cookies(await log_in())
    clock.now += 500

    answers = [await _refresh(http, first[REFRESH_COOKIE].value) for _ in range(2)]

    one, two = (_cookies(answer) for answer in answers)
    assert [(answer.status_code, answer.content) for answer in answers] == [(204, b"")] * 2
    assert one[REFRESH_COOKIE].value == two[REFRESH_COOKIE].value != first[REFRESH_COOKIE].value
    assert (one[COOKIE]["max-age"], one[COOKIE]["path"]) == ("600", "/")
    assert (one[REFRESH_COOKIE]["max-age"], one[REFRESH_COOKIE]["path"]) == ("604800", "/session")
    old, new = (service.tokens.read(cookies[COOKIE].value, now=clock()) for cookies in (first, one))
    assert (old.sid, old.sub) == (new.sid, new.sub)
    assert new.expires_at == old.expires_at + 500


async def test_the_cookie_lives_no_longer_than_the_session(
    log_in: LogIn, http: httpx2.AsyncClient, clock: Clock
) -> None:
    """Near its absolute end."""
    cookies = _cookies(await log_in())
    for _ in range(4):
        clock.now += 600_000
        cookies = _cookies(await _refresh(http, cookies[REFRESH_COOKIE].value))

    assert cookies[REFRESH_COOKIE]["max-age"] == "192000"


async def test_a_session_that_is_over_is_401(
    log_in: LogIn, http: httpx2.AsyncClient, clock: Clock
) -> None:
    """No cookie, a bad one, a replaced one; cookies are left to whoever has set them since."""
    token = _cookies(await log_in())[REFRESH_COOKIE].value
    await _refresh(http, token)
    clock.now += 11

    for presented in (None, "", "x", token):
        _assert_refused(await _refresh(http, presented), 401, "invalid_grant")


async def test_a_foreign_page_refreshes_nothing(http: httpx2.AsyncClient, log_in: LogIn) -> None:
    """Its Origin says so; and a token of the cookie is no token of /token, nor vice versa."""
    token = _cookies(await log_in())[REFRESH_COOKIE].value

    for origin in FOREIGN:
        _assert_refused(await _refresh(http, token, origin), 403, "access_denied")
    form = {"grant_type": "refresh_token", "refresh_token": token}
    assert (await http.post("/token", data=form)).json()["error"] == "invalid_grant"
    assert (await _refresh(http, token)).status_code == 204


async def test_a_programs_token_is_no_browsers(http: httpx2.AsyncClient, login: Login) -> None:
    """It stays good for the program."""
    token = (await login()).json()["refresh_token"]

    _assert_refused(await _refresh(http, token), 401, "invalid_grant")
    answer = await login(grant_type="refresh_token", refresh_token=token)

    assert answer.status_code == 200


@pytest.mark.parametrize("kept", [[COOKIE], [REFRESH_COOKIE], [COOKIE, REFRESH_COOKIE]])
async def test_logging_out_ends_the_session(
    service: Service, log_in: LogIn, http: httpx2.AsyncClient, kept: list[str]
) -> None:
    """Whichever cookie is left: a copy of the tokens is worth nothing, and gateways are told."""
    cookies = _cookies(await log_in())
    header = "; ".join(f"{name}={cookies[name].value}" for name in kept)
    http.cookies.clear()

    answer = await http.delete("/session", headers={"Origin": ORIGIN, "Cookie": header})

    assert answer.status_code == 204
    _assert_refused(await _refresh(http, cookies[REFRESH_COOKIE].value), 401, "invalid_grant")
    http.cookies.set(COOKIE, cookies[COOKIE].value)
    assert (await http.get("/users/me")).status_code == 401
    async with service.database.read() as connection:
        entries = await revocations.after(connection, 0, now=0, limit=9)
    assert [(entry.kind, entry.reason) for _, entry in entries] == [("sid", "logout")]


async def test_a_page_of_ours_needs_no_password_grant(service: Service, log_in: LogIn) -> None:
    """The grant is about other programs that see the password."""
    async with service.database.write() as connection:
        await connection.execute(update(CLIENTS).values(grants=""))

    answer = await log_in()

    assert answer.status_code == 204
    assert REFRESH_COOKIE in _cookies(answer)


async def test_logging_out_takes_both_cookies_away(http: httpx2.AsyncClient) -> None:
    """With the attributes they were set with, or the browser keeps them; also if there are none."""
    answer = await http.delete("/session", headers={"Origin": ORIGIN})

    assert (answer.status_code, answer.content) == (204, b"")
    cookies = _cookies(answer)
    assert {name: morsel["path"] for name, morsel in cookies.items()} == {
        COOKIE: "/",
        REFRESH_COOKIE: "/session",
    }
    for morsel in cookies.values():
        assert (morsel.value, morsel["max-age"], morsel["domain"]) == ("", "0", "")
        assert morsel["secure"]
        assert morsel["httponly"]


async def test_other_methods_are_405(http: httpx2.AsyncClient) -> None:
    """Credentials stay out of addresses."""
    answer = await http.get("/session?username=alice&password=secret")

    assert answer.status_code == 405


async def test_the_origins_can_be_chosen(settings: Settings) -> None:
    """``AUTH_ORIGINS`` replaces the issuer's."""
    other = settings.model_copy(update={"origins": ("https://chat.example",)})
    async with open_service(other) as service:
        transport = httpx2.ASGITransport(create_app(service))
        async with httpx2.AsyncClient(transport=transport, base_url="https://localhost") as http:
            answers = [
                (await http.delete("/session", headers={"Origin": origin})).status_code
                for origin in ("https://chat.example", ORIGIN)
            ]

    assert answers == [204, 403]


async def test_a_refusal_is_one_log_line_without_what_was_typed(
    log_in: LogIn, http: httpx2.AsyncClient, caplog: pytest.LogCaptureFixture
) -> None:
    """Error, client if known, address; never name, password, token or origin."""
    with caplog.at_level(logging.INFO, logger="auth_service"):
        await log_in(username="typed-name", password="typed-password")
        await http.delete("/session", headers={"Origin": "https://typed.example"})
        await log_in()

    refused, foreign, issued = (one for one in caplog.records if one.getMessage() != "audit")
    assert refused.getMessage() == foreign.getMessage() == "session_refused"
    assert (refused.__dict__["error"], refused.__dict__["client_id"]) == ("invalid_grant", "chat")
    assert foreign.__dict__["error"] == "access_denied"
    assert issued.getMessage() == "token_issued"
    for record in caplog.records:
        assert "typed" not in str(record.__dict__)
        assert "eyJ" not in str(record.__dict__)
