"""``POST /token`` as a client sees it."""

from __future__ import annotations

import base64
import logging
import re
from collections.abc import Awaitable, Callable

import httpx2
import pytest

from auth_service.app import Service
from auth_service.clients import hash_secret
from auth_service.exceptions import Overloaded, StoreUnavailable
from auth_service.models import User
from auth_service.store import users

Login = Callable[..., Awaitable[httpx2.Response]]
FORM = {"Content-Type": "application/x-www-form-urlencoded"}


def _hashes(service: Service) -> float:
    name = "auth_password_hash_seconds_count"
    return service.metrics.registry.get_sample_value(name) or 0.0


def _assert_refused(answer: httpx2.Response, status: int, error: str) -> None:
    """Check the form that every refusal has (RFC 6749 sections 5.1 and 5.2)."""
    assert (answer.status_code, answer.json()["error"]) == (status, error)
    assert answer.json().keys() == {"error", "error_description"}
    assert re.fullmatch(r"[\x20\x21\x23-\x5b\x5d-\x7e]+", answer.json()["error_description"])
    assert answer.headers["Content-Type"] == "application/json"
    assert answer.headers["Cache-Control"] == "no-store"
    assert answer.headers["Pragma"] == "no-cache"


async def test_the_right_password_gets_a_bearer_token(service: Service, login: Login) -> None:
    """RFC 6749 section 5.1: five fields, a JSON number, never cached."""
    answer = await login(scope="connect")

    body = answer.json()
    assert answer.status_code == 200
    assert body.keys() == {"access_token", "token_type", "expires_in", "scope", "refresh_token"}
    assert (body["token_type"], body["expires_in"], body["scope"]) == ("Bearer", 600, "connect")
    assert answer.headers["Cache-Control"] == "no-store"
    assert answer.headers["Pragma"] == "no-cache"
    assert service.tokens.read(body["access_token"], now=service.clock()).client_id == "chat"


async def test_unknown_wrong_and_disabled_are_one_answer(
    service: Service, login: Login, password: str
) -> None:
    """Body, status, headers and work are equal, so no name can be found out."""
    gone = await service.accounts.add("gone", password)
    async with service.database.write() as connection:
        await users.set_disabled(connection, gone.id, disabled=True)
    seen = []
    for changes in (
        {"password": "wrong"},
        {"username": "nobody"},
        {"username": "gone"},
        {"username": "a\nb"},
        {"username": "\u202e"},
    ):
        before = _hashes(service)
        answer = await login(**changes)
        _assert_refused(answer, 400, "invalid_grant")
        headers = {**answer.headers, "x-request-id": ""}
        seen.append((answer.content, headers, _hashes(service) - before))

    assert all(one == seen[0] for one in seen)
    assert seen[0][2] == 1


@pytest.mark.parametrize(
    ("changes", "error"),
    [
        ({"grant_type": None}, "invalid_request"),
        ({"grant_type": ""}, "invalid_request"),
        ({"grant_type": "magic"}, "unsupported_grant_type"),
        ({"grant_type": "Password"}, "unsupported_grant_type"),
        ({"grant_type": "saml2"}, "unsupported_grant_type"),
        ({"username": None}, "invalid_request"),
        ({"username": ""}, "invalid_request"),
        ({"password": None}, "invalid_request"),
        ({"password": ""}, "invalid_request"),
        ({"password": None, "Password": "x"}, "invalid_request"),
        ({"password": "x" * 257}, "invalid_request"),
        ({"username": "x" * 257}, "invalid_request"),
        ({"password": "a\0b"}, "invalid_request"),
        ({"scope": "api"}, "invalid_scope"),
        ({"scope": "connect nonsense"}, "invalid_scope"),
        ({"scope": 'a"b'}, "invalid_scope"),
        ({"scope": "a " * 5000}, "invalid_scope"),
    ],
)
async def test_bad_fields_are_refused_before_any_hash(
    service: Service, login: Login, changes: dict[str, str | None], error: str
) -> None:
    """RFC 6749 section 5.2: 400 and the exact word; 422 never appears."""
    before = _hashes(service)

    _assert_refused(await login(**changes), 400, error)

    assert _hashes(service) == before


@pytest.mark.parametrize("name", ["grant_type", "username", "password", "scope", "x"])
async def test_a_doubled_field_is_refused(http: httpx2.AsyncClient, name: str) -> None:
    """RFC 6749 section 3.2; the framework would take the last one."""
    body = f"grant_type=password&username=alice&password=x&{name}=a&{name}=b"

    _assert_refused(await http.post("/token", content=body, headers=FORM), 400, "invalid_request")


async def test_unknown_fields_and_the_query_are_ignored(login: Login) -> None:
    """RFC 6749 section 3.2."""
    answer = await login(audience="somebody", resource="https://x.example")

    assert answer.status_code == 200


@pytest.mark.parametrize(
    "send",
    [
        {"json": {"grant_type": "password", "username": "alice", "password": "x"}},
        {"files": {"grant_type": (None, "password")}},
        {"content": "grant_type=password"},
        {"content": "grant_type=password", "headers": {"Content-Type": "text/plain"}},
        {
            "content": "grant_type=password",
            "headers": {"Content-Type": "application/x-www-form-urlencoded; charset=utf-16"},
        },
        {"content": b"grant_type=\xff", "headers": FORM},
        {"content": b"grant_type=password&username=%ED%A0%80&password=x", "headers": FORM},
        {"content": b"", "headers": FORM},
    ],
)
async def test_another_kind_of_body_is_refused(
    http: httpx2.AsyncClient, send: dict[str, object]
) -> None:
    """JSON, multipart, no type, wrong charset, invalid UTF-8, nothing."""
    request = http.build_request("POST", "/token", **send)  # type: ignore[arg-type]

    _assert_refused(await http.send(request), 400, "invalid_request")


async def test_a_body_too_large_closes_the_connection(http: httpx2.AsyncClient) -> None:
    """413; what follows is not read."""
    answer = await http.post("/token", data={"password": "x" * 20_000})

    _assert_refused(answer, 413, "invalid_request")
    assert answer.headers["Connection"] == "close"


async def test_get_is_not_allowed_and_its_query_not_looked_at(
    http: httpx2.AsyncClient, caplog: pytest.LogCaptureFixture
) -> None:
    """RFC 6749 section 3.2: POST only, so that credentials stay out of addresses."""
    with caplog.at_level(logging.INFO, logger="auth_service"):
        answer = await http.get("/token?grant_type=password&username=alice&password=secret")

    assert (answer.status_code, answer.headers["Allow"]) == (405, "POST")
    assert answer.json() == {"error": "method_not_allowed"}
    assert answer.headers["Cache-Control"] == "no-store"
    (record,) = caplog.records
    assert record.getMessage() == "method_refused"
    assert "secret" not in str(record.__dict__)


async def test_clients_are_authenticated(service: Service, login: Login) -> None:
    """An unknown client is 401 whatever the user typed, and no hash is spent on it."""
    before = _hashes(service)

    _assert_refused(await login(client_id="nobody"), 401, "invalid_client")
    _assert_refused(await login(client_id="chat", client_secret="x"), 401, "invalid_client")

    assert _hashes(service) == before


async def test_basic_credentials_are_answered_with_their_scheme(
    service: Service, http: httpx2.AsyncClient, alice: User, password: str
) -> None:
    """RFC 6749 section 5.2."""
    await service.registration.add(
        "bot", secret_hash=hash_secret("s"), grants=frozenset({"password"}), scope="connect"
    )
    form = {"grant_type": "password", "username": alice.username, "password": password}

    good = await http.post("/token", data=form, auth=("bot", "s"))
    bad = await http.post("/token", data=form, auth=("bot", "wrong"))
    two = await http.post("/token", data={**form, "client_secret": "s"}, auth=("bot", "s"))

    assert good.status_code == 200
    _assert_refused(bad, 401, "invalid_client")
    assert bad.headers["WWW-Authenticate"].startswith("Basic ")
    _assert_refused(two, 400, "invalid_request")


async def test_a_client_without_the_grant_is_unauthorized(service: Service, login: Login) -> None:
    """Registration names what a client may use."""
    await service.registration.add("web", secret_hash=None, grants=frozenset(), scope="connect")

    _assert_refused(await login(client_id="web"), 400, "unauthorized_client")


@pytest.mark.parametrize("error", [Overloaded, StoreUnavailable])
async def test_what_is_not_the_clients_fault_may_be_tried_again(
    service: Service,
    login: Login,
    monkeypatch: pytest.MonkeyPatch,
    error: type[Overloaded | StoreUnavailable],
) -> None:
    """503 with Retry-After, as JSON."""

    async def fail(*_: object) -> None:
        raise error

    monkeypatch.setattr(service.hasher, "verify", fail)

    answer = await login()

    _assert_refused(answer, 503, "temporarily_unavailable")
    assert int(answer.headers["Retry-After"]) >= 1


async def test_a_refusal_is_one_log_line_without_what_was_typed(
    login: Login, caplog: pytest.LogCaptureFixture
) -> None:
    """Error, client if known, address; never name, password or token."""
    with caplog.at_level(logging.INFO, logger="auth_service"):
        await login(username="typed-name", password="typed-password")
        await login(client_id="typed-client")
        await login()

    refused, unknown, issued = (one for one in caplog.records if one.getMessage() != "audit")
    assert refused.getMessage() == unknown.getMessage() == "token_refused"
    assert refused.__dict__["error"] == "invalid_grant"
    assert refused.__dict__["client_id"] == "chat"
    assert refused.__dict__["address"] == "127.0.0.1"
    assert "client_id" not in unknown.__dict__
    assert issued.getMessage() == "token_issued"
    for record in caplog.records:
        assert "typed" not in str(record.__dict__)
        assert "eyJ" not in str(record.__dict__)


async def test_an_answer_never_repeats_the_request(login: Login) -> None:
    """No reflection of what could be a password, or markup."""
    for changes in (
        {"username": "<reflected>"},
        {"scope": "reflected"},
        {"grant_type": "reflected"},
        {"client_id": "reflected"},
    ):
        assert "reflected" not in (await login(**changes)).text


async def test_meta_characters_are_plain_letters(
    service: Service, login: Login, password: str
) -> None:
    """SQL and the like in a name: a user may be called so."""
    name = "' OR '1'='1'; -- ${jndi:ldap://x} %s {}"
    await service.accounts.add(name, password)

    assert (await login(username=name)).status_code == 200
    _assert_refused(await login(username="' OR '1'='1"), 400, "invalid_grant")


async def test_no_header_is_not_basic(http: httpx2.AsyncClient) -> None:
    """A Bearer header is no client authentication."""
    token = base64.b64encode(b"x").decode()
    answer = await http.post(
        "/token",
        data={"grant_type": "password"},
        headers={"Authorization": f"Bearer {token}"},
    )

    _assert_refused(answer, 401, "invalid_client")
