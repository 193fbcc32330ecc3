"""Refreshing a session."""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Awaitable, Callable

import httpx2
import pytest
from jose import jwt
from sqlalchemy import delete, select, update

from auth_service.app import Service, create_app, open_service
from auth_service.clients import hash_secret
from auth_service.models import User
from auth_service.passwords import HashParameters
from auth_service.settings import Settings
from auth_service.store import revocations, users
from auth_service.store.tables import AUDIT_EVENTS, CLIENTS, SESSIONS, USERS
from tests.auth_service.conftest import Clock, Login
from tests.databases import BOTH_DATABASES

pytestmark = BOTH_DATABASES

Refresh = Callable[..., Awaitable[httpx2.Response]]


@pytest.fixture
def refresh(http: httpx2.AsyncClient) -> Refresh:
    """Send the grant."""

    async def send(token: str | None, **changes: str) -> httpx2.Response:
        fields = {"grant_type": "refresh_token", **changes}
        if token is not None:
            fields["refresh_token"] = token
        return await http.post("/token", data=fields)

    return send


async def _first(login: Login) -> str:
    return str((await login()).json()["refresh_token"])


def _counted(service: Service, result: str) -> float:
    labels = {"result": result}
    return service.metrics.registry.get_sample_value("auth_refreshes_total", labels) or 0.0


async def _revoked(service: Service) -> list[tuple[str, str]]:
    async with service.database.read() as connection:
        entries = await revocations.after(connection, 0, now=0, limit=100)
    return [(entry.kind, entry.reason) for _, entry in entries]


def _assert_refused(answer: httpx2.Response, error: str = "invalid_grant") -> None:
    assert (answer.status_code, answer.json()["error"]) == (400, error)


async def test_a_refresh_token_gets_an_access_token_and_its_successor(
    service: Service, login: Login, refresh: Refresh, clock: Clock, http: httpx2.AsyncClient
) -> None:
    """Of the same session and log-in; the database holds hashes only."""
    first = (await login()).json()
    clock.now += 300

    answer = (await refresh(first["refresh_token"])).json()

    assert answer["refresh_token"] != first["refresh_token"]
    assert (answer["token_type"], answer["expires_in"], answer["scope"]) == (
        "Bearer",
        600,
        "connect",
    )
    old, new = (jwt.get_unverified_claims(one["access_token"]) for one in (first, answer))
    assert (old["sid"], old["sub"], old["auth_time"]) == (new["sid"], new["sub"], new["auth_time"])
    assert new["iat"] == old["iat"] + 300
    assert new["jti"] != old["jti"]
    async with service.database.read() as connection:
        row = (await connection.execute(select(SESSIONS))).one()
    assert row.generation == 2
    assert row.token_hash == hashlib.sha256(answer["refresh_token"].encode()).hexdigest()
    assert row.previous_hash == hashlib.sha256(first["refresh_token"].encode()).hexdigest()
    assert not [value for value in row if "rt_" in str(value)]
    assert await _revoked(service) == []
    header = {"Authorization": f"Bearer {first['access_token']}"}
    assert (await http.get("/users/me", headers=header)).status_code == 200


async def test_twenty_at_once_get_one_successor(
    service: Service, login: Login, refresh: Refresh
) -> None:
    """One of them replaced the token; one living descendant is left (O11)."""
    token = await _first(login)

    answers = [
        answer.json() for answer in await asyncio.gather(*(refresh(token) for _ in range(20)))
    ]

    assert len({answer["refresh_token"] for answer in answers}) == 1
    assert len({answer["access_token"] for answer in answers}) == 20
    assert (_counted(service, "rotated"), _counted(service, "grace")) == (1, 19)
    async with service.database.read() as connection:
        assert (await connection.execute(select(SESSIONS.c.generation))).scalar_one() == 2
    assert (await refresh(answers[0]["refresh_token"])).status_code == 200


@pytest.mark.parametrize("seconds", [0, 10])
async def test_a_lost_answer_is_given_again_within_the_grace(
    login: Login, refresh: Refresh, clock: Clock, seconds: int
) -> None:
    """The same successor, with a fresh access token (O12)."""
    token = await _first(login)
    answer = (await refresh(token)).json()
    clock.now += seconds

    again = (await refresh(token)).json()

    assert again["refresh_token"] == answer["refresh_token"]
    assert again["access_token"] != answer["access_token"]


async def test_a_replaced_token_ends_the_session_after_the_grace(
    service: Service, login: Login, refresh: Refresh, clock: Clock, http: httpx2.AsyncClient
) -> None:
    """Thief or victim, one of the two has a copy: both are out, and others are told (O10)."""
    first = (await login()).json()
    second = (await refresh(first["refresh_token"])).json()
    other = await _first(login)
    clock.now += 11

    _assert_refused(await refresh(first["refresh_token"]))

    _assert_refused(await refresh(second["refresh_token"]))
    assert await _revoked(service) == [("sid", "reuse")]
    assert (_counted(service, "reuse"), _counted(service, "refused")) == (1, 1)
    async with service.database.read() as connection:
        events = (await connection.execute(select(AUDIT_EVENTS.c.event))).scalars().all()
    assert events[-2:] == ["refresh_reuse_detected", "session_ended"]
    header = {"Authorization": f"Bearer {second['access_token']}"}
    assert (await http.get("/users/me", headers=header)).status_code == 401
    # The family, not the user.
    assert (await refresh(other)).status_code == 200


async def test_a_token_whose_successor_was_used_ends_the_session(
    service: Service, login: Login, refresh: Refresh
) -> None:
    """Whoever has the successor got the answer, so nothing was lost (O12)."""
    token = await _first(login)
    second = (await refresh(token)).json()["refresh_token"]
    third = (await refresh(second)).json()["refresh_token"]

    _assert_refused(await refresh(token))

    _assert_refused(await refresh(third))
    assert await _revoked(service) == [("sid", "reuse")]


async def test_without_grace_the_second_use_ends_the_session(
    settings: Settings, clock: Clock, password: str
) -> None:
    """``AUTH_REFRESH_GRACE_SECONDS=0``."""
    strict = settings.model_copy(update={"refresh_grace_seconds": 0})
    cheap = HashParameters(memory_kib=8, passes=1, lanes=1)
    async with open_service(strict, clock=clock, hash_parameters=cheap) as service:
        await service.accounts.add("alice", password)
        transport = httpx2.ASGITransport(create_app(service))
        async with httpx2.AsyncClient(transport=transport, base_url="https://localhost") as http:
            form = {"grant_type": "password", "username": "alice", "password": password}
            token = (await http.post("/token", data=form)).json()["refresh_token"]
            form = {"grant_type": "refresh_token", "refresh_token": token}
            answers = [(await http.post("/token", data=form)).status_code for _ in range(2)]
        assert await _revoked(service) == [("sid", "reuse")]

    assert answers == [200, 400]


async def test_a_text_made_up_around_a_known_sid_ends_nothing(
    service: Service, login: Login, refresh: Refresh, clock: Clock
) -> None:
    """The sid is in every access token; whoever sees one must not be able to log others out."""
    token = await _first(login)
    sid, generation, chain, mac = token.removeprefix("rt_").split(".")
    clock.now += 100

    for text in (
        f"rt_{sid}.{generation}.{'A' * 43}.{mac}",
        f"rt_{sid}.{generation}.{chain}.{'A' * 22}",
        f"rt_{sid}.2.{chain}.{mac}",
        "rt_",
        "x" * 5000,
    ):
        _assert_refused(await refresh(text))

    assert await _revoked(service) == []
    assert (await refresh(token)).status_code == 200


async def test_a_token_is_its_clients(
    service: Service, login: Login, refresh: Refresh, clock: Clock
) -> None:
    """Another client gets nothing and changes nothing, whatever token it has (O13)."""
    await service.registration.add(
        "other", secret_hash=None, grants=frozenset({"refresh_token"}), scope="connect"
    )
    token = await _first(login)

    _assert_refused(await refresh(token, client_id="other"))
    second = (await refresh(token)).json()["refresh_token"]
    clock.now += 100
    _assert_refused(await refresh(token, client_id="other"))

    assert (await refresh(second)).status_code == 200
    assert await _revoked(service) == []


async def test_a_confidential_client_proves_itself(
    service: Service, login: Login, refresh: Refresh
) -> None:
    """Without its secret: invalid_client, and the token stays good (O13)."""
    await service.registration.add(
        "app",
        secret_hash=hash_secret("s3cret"),
        grants=frozenset({"password", "refresh_token"}),
        scope="connect",
    )
    token = (await login(client_id="app", client_secret="s3cret")).json()["refresh_token"]

    bare = await refresh(token, client_id="app")
    wrong = await refresh(token, client_id="app", client_secret="wrong")
    right = await refresh(token, client_id="app", client_secret="s3cret")

    for answer in (bare, wrong):
        assert (answer.status_code, answer.json()["error"]) == (401, "invalid_client")
    assert right.status_code == 200


async def test_a_client_without_the_grant_gets_no_refresh_token(
    service: Service, login: Login, refresh: Refresh
) -> None:
    """And may not use one."""
    await service.registration.add(
        "plain", secret_hash=None, grants=frozenset({"password"}), scope="connect"
    )

    answer = await login(client_id="plain")

    assert "refresh_token" not in answer.json()
    _assert_refused(
        await refresh(await _first(login), client_id="plain"), error="unauthorized_client"
    )


async def test_the_scope_shrinks_for_the_access_token_only(
    service: Service, login: Login, refresh: Refresh
) -> None:
    """Wider is refused, and the token stays good (O13)."""
    async with service.database.write() as connection:
        for table in (USERS, CLIENTS):
            await connection.execute(update(table).values(scope="connect read write"))
    token = (await login(scope="connect read")).json()["refresh_token"]

    _assert_refused(await refresh(token, scope="connect write"), error="invalid_scope")
    _assert_refused(await refresh(token, scope="api"), error="invalid_scope")
    _assert_refused(await refresh(token, scope='"'), error="invalid_scope")
    narrow = (await refresh(token, scope="read")).json()
    whole = (await refresh(narrow["refresh_token"])).json()

    assert (narrow["scope"], whole["scope"]) == ("read", "connect read")


async def test_what_the_user_has_lost_is_left_out(
    service: Service, login: Login, refresh: Refresh
) -> None:
    """And a scope of which nothing is left is refused."""
    token = await _first(login)
    async with service.database.write() as connection:
        await connection.execute(update(USERS).values(scope="read"))

    _assert_refused(await refresh(token), error="invalid_scope")


async def test_a_session_ends_when_idle(login: Login, refresh: Refresh, clock: Clock) -> None:
    """Each refresh begins the time anew."""
    token = await _first(login)
    for _ in range(2):
        clock.now += 604_799
        token = (await refresh(token)).json()["refresh_token"]
    clock.now += 604_800

    _assert_refused(await refresh(token))


async def test_a_session_ends_in_the_end(login: Login, refresh: Refresh, clock: Clock) -> None:
    """However often it is refreshed; and that is no reuse (O13)."""
    token = await _first(login)
    for _ in range(4):
        clock.now += 600_000
        token = (await refresh(token)).json()["refresh_token"]
    clock.now += 2_592_000 - 2_400_000 - 1
    token = (await refresh(token)).json()["refresh_token"]
    clock.now += 1

    _assert_refused(await refresh(token))


async def test_a_disabled_users_token_is_refused(
    service: Service, login: Login, refresh: Refresh, alice: User
) -> None:
    """Even if the session were there still (O13)."""
    token = await _first(login)
    async with service.database.write() as connection:
        await users.set_disabled(connection, alice.id, disabled=True)

    _assert_refused(await refresh(token))


async def test_a_deleted_session_is_nobodys(
    service: Service, login: Login, refresh: Refresh
) -> None:
    """A genuine token of it is refused, no more."""
    token = await _first(login)
    async with service.database.write() as connection:
        await connection.execute(delete(SESSIONS))

    _assert_refused(await refresh(token))


async def test_an_access_token_is_no_refresh_token(
    login: Login, refresh: Refresh, http: httpx2.AsyncClient
) -> None:
    """Nor the other way round (O14)."""
    answer = (await login()).json()

    _assert_refused(await refresh(answer["access_token"]))
    header = {"Authorization": f"Bearer {answer['refresh_token']}"}
    assert (await http.get("/users/me", headers=header)).status_code == 401


async def test_a_missing_token_is_an_invalid_request(refresh: Refresh) -> None:
    """Not an invalid grant."""
    for token in (None, ""):
        _assert_refused(await refresh(token), error="invalid_request")


async def test_a_failure_after_the_rotation_rolls_it_back(
    service: Service, login: Login, refresh: Refresh, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The token is as good as before (O15)."""
    token = await _first(login)

    def fail(**_: object) -> None:
        raise RuntimeError

    with monkeypatch.context() as patch:
        patch.setattr(type(service.tokens), "mint", lambda *_, **__: fail())
        assert (await refresh(token)).status_code == 500

    assert (await refresh(token)).status_code == 200
    assert _counted(service, "rotated") == 1


async def test_the_log_has_no_refresh_token(
    login: Login, refresh: Refresh, caplog: pytest.LogCaptureFixture, clock: Clock
) -> None:
    """Neither good nor bad."""
    with caplog.at_level("DEBUG", logger="auth_service"):
        token = await _first(login)
        await refresh(token)
        clock.now += 100
        await refresh(token)

    assert caplog.records
    assert not [record for record in caplog.records if "rt_" in str(record.__dict__)]
