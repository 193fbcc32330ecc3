"""The password grant."""

from __future__ import annotations

import pytest
from jose import jwt

from auth_service.app import Service
from auth_service.caller import Caller
from auth_service.exceptions import (
    InvalidGrant,
    InvalidRequest,
    InvalidScope,
    Overloaded,
    StoreUnavailable,
    UnauthorizedClient,
)
from auth_service.models import Client, User, Username
from auth_service.passwords import HashParameters, PasswordHasher
from auth_service.store import users


def _client(*scopes: str, grants: tuple[str, ...] = ("password",)) -> Client:
    return Client("chat", None, frozenset(grants), frozenset(scopes or ("connect",)), False, 1)


async def _exchange(service: Service, client: Client, **form: str) -> str:
    issued = await service.grants["password"].exchange(client=client, form=form, caller=Caller())
    return issued.scope


async def _by_id(service: Service, user_id: str) -> User | None:
    async with service.database.read() as connection:
        return await users.by_id(connection, user_id)


def _value(service: Service, name: str, **labels: str) -> float:
    return service.metrics.registry.get_sample_value(name, labels) or 0.0


def _hashes(service: Service) -> float:
    return _value(service, "auth_password_hash_seconds_count")


async def test_the_right_password_gets_a_token(
    service: Service, alice: User, password: str, now: float
) -> None:
    """With the user's id and name in it."""
    issued = await service.grants["password"].exchange(
        client=_client(), form={"username": "ALICE", "password": password}, caller=Caller()
    )

    claims = jwt.get_unverified_claims(issued.access_token)
    assert claims["sub"] == alice.id
    assert claims["info"] == {"name": "alice"}
    assert claims["iat"] == int(now)
    assert issued.expires_in == 600
    assert _value(service, "auth_logins_total", result="success") == 1
    assert _value(service, "auth_tokens_issued_total", grant_type="password") == 1


async def test_every_failure_costs_one_hash(service: Service, alice: User, password: str) -> None:
    """Unknown, impossible, wrong and disabled cannot be told apart by time."""
    await service.accounts.add("gone", password)
    async with service.database.write() as connection:
        gone = await users.by_name(connection, Username.parse("gone"))
        assert gone is not None
        await users.set_disabled(connection, gone.id, disabled=True)

    for name, word in (
        (alice.username, "wrong"),
        ("nobody", password),
        ("not\na name", password),
        ("client:chat", password),
        ("gone", password),
    ):
        before = _hashes(service)
        with pytest.raises(InvalidGrant):
            await _exchange(service, _client(), username=name, password=word)
        assert _hashes(service) == before + 1
    assert _value(service, "auth_logins_total", result="failure") == 5


async def test_what_is_cheap_to_refuse_costs_no_hash(
    service: Service, alice: User, password: str
) -> None:
    """Registration, presence, length and the client's scopes come before the database."""
    cases: list[tuple[Client, dict[str, str], type[Exception]]] = [
        (_client(grants=()), {}, UnauthorizedClient),
        (_client(), {"username": ""}, InvalidRequest),
        (_client(), {"password": ""}, InvalidRequest),
        (_client(), {"username": "x" * 257}, InvalidRequest),
        (_client(), {"password": "x" * 257}, InvalidRequest),
        (_client(), {"scope": "a  b"}, InvalidScope),
        (_client(), {"scope": "connect other"}, InvalidScope),
        (_client("connect", "api"), {"scope": "api"}, InvalidScope),
    ]
    before = _hashes(service)

    for client, changes, error in cases:
        form = {"username": alice.username, "password": password, **changes}
        with pytest.raises(error):
            await _exchange(
                service, client, **{name: value for name, value in form.items() if value}
            )

    assert _hashes(service) == before


async def test_a_scope_is_within_client_and_user(service: Service, password: str) -> None:
    """Requested ⊆ client ∩ user; left out it is all of that."""
    await service.accounts.add("bob", password, scope="connect read")
    client = _client("connect", "read", "write")
    bob = {"username": "bob", "password": password}

    assert await _exchange(service, client, **bob) == "connect read"
    assert await _exchange(service, client, **bob, scope="read") == "read"
    assert await _exchange(service, client, **bob, scope="read read") == "read"
    with pytest.raises(InvalidScope):
        await _exchange(service, client, **bob, scope="read write")
    with pytest.raises(InvalidScope):
        await _exchange(service, _client("write"), **bob)


async def test_users_never_get_the_scopes_of_services(service: Service, password: str) -> None:
    """Even if a row of the database says so."""
    password_hash = await service.hasher.hash(password)
    async with service.database.write() as connection:
        await users.add(
            connection,
            Username.parse("mallory"),
            password_hash=password_hash,
            scope="connect api introspect",
            demo=False,
            now=1,
        )

    scope = await _exchange(
        service,
        _client("connect", "api", "introspect"),
        username="mallory",
        password=password,
    )

    assert scope == "connect"


async def test_a_weak_hash_is_replaced_at_login(
    service: Service, alice: User, password: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """And a database that cannot store it now does not spoil the login."""
    stronger = PasswordHasher(
        threads=1,
        queue=1,
        wait_seconds=10,
        metrics=service.metrics,
        parameters=HashParameters(memory_kib=16, passes=1, lanes=1),
    )
    monkeypatch.setattr(service.login, "_hasher", stronger)

    async def fail(*_: object) -> None:
        raise StoreUnavailable

    with monkeypatch.context() as patch:
        patch.setattr(users, "replace_password_hash", fail)
        assert await _exchange(service, _client(), username="alice", password=password)
    unchanged = await _by_id(service, alice.id)
    assert await _exchange(service, _client(), username="alice", password=password)
    changed = await _by_id(service, alice.id)
    stronger.close()

    assert unchanged is not None
    assert unchanged.password_hash == alice.password_hash
    assert changed is not None
    assert changed.password_hash.startswith("$argon2id$v=19$m=16,")


async def test_overload_is_not_a_failed_login(
    service: Service, alice: User, password: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It says nothing about the password, so it is counted apart."""

    async def full(*_: object) -> None:
        raise Overloaded

    monkeypatch.setattr(service.hasher, "verify", full)

    with pytest.raises(Overloaded):
        await _exchange(service, _client(), username=alice.username, password=password)

    assert _value(service, "auth_logins_total", result="overloaded") == 1
    assert _value(service, "auth_logins_total", result="failure") == 0
