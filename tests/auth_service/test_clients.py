"""Client authentication."""

from __future__ import annotations

import base64
import json
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from urllib.parse import quote_plus

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec
from jose import jwk, jws
from sqlalchemy.ext.asyncio import AsyncConnection

from auth_service.app import Service
from auth_service.client_assertions import ASSERTION_TYPE
from auth_service.clients import ClientAuthenticator, hash_secret, new_secret
from auth_service.exceptions import InvalidClient, InvalidRequest, OAuth2Error, TooManyAttempts
from auth_service.models import Client
from auth_service.store import clients as store_clients

SECRET = "p%+: \u00e4=&x"


@pytest.fixture
async def clients(service: Service) -> ClientAuthenticator:
    """A public client `chat`, which is the default, and three confidential ones."""
    for client_id, disabled in (("bot", False), ("gone", True)):
        client = Client(
            client_id,
            hash_secret(SECRET),
            frozenset({"password"}),
            frozenset({"connect"}),
            disabled,
            1,
        )
        async with service.database.write() as connection:
            await store_clients.add(connection, client)
    return service.clients


def _basic(client_id: str, secret: str) -> list[str]:
    pair = f"{quote_plus(client_id)}:{quote_plus(secret)}"
    return ["Basic " + base64.b64encode(pair.encode()).decode()]


async def _error(
    clients: ClientAuthenticator,
    authorization: Sequence[str] = (),
    form: Mapping[str, str] | None = None,
) -> OAuth2Error:
    with pytest.raises(OAuth2Error) as caught:
        await clients.identify(authorization=authorization, form=form or {})
    return caught.value


async def test_no_client_means_the_default_one(clients: ClientAuthenticator) -> None:
    """AUTH_DEFAULT_CLIENT, made on start as a public client."""
    assert (await clients.identify(authorization=[], form={})).id == "chat"


async def test_no_client_and_no_default_is_refused(service: Service) -> None:
    """Production leaves the default empty."""
    clients = ClientAuthenticator(
        database=service.database,
        default_client="",
        issuer=service.settings.issuer,
        limits=service.limits,
        clock=service.clock,
    )

    assert isinstance(await _error(clients), InvalidClient)


async def test_a_secret_with_reserved_characters_works_both_ways(
    clients: ClientAuthenticator,
) -> None:
    """RFC 6749 section 2.3.1: id and secret are form-encoded before base64."""
    basic = await clients.identify(authorization=_basic("bot", SECRET), form={})
    post = await clients.identify(
        authorization=[], form={"client_id": "bot", "client_secret": SECRET}
    )

    assert basic.id == post.id == "bot"


async def test_a_public_client_sends_its_id_alone(clients: ClientAuthenticator) -> None:
    """By form, or by Basic with an empty secret as many libraries do."""
    for authorization, form in (([], {"client_id": "chat"}), (_basic("chat", ""), {})):
        assert (await clients.identify(authorization=authorization, form=form)).id == "chat"


@pytest.mark.parametrize(
    "form",
    [
        {"client_id": "bot", "client_secret": "wrong"},
        {"client_id": "bot"},
        {"client_id": "gone", "client_secret": SECRET},
        {"client_id": "nobody"},
        {"client_id": "nobody", "client_secret": SECRET},
        {"client_id": "chat", "client_secret": "a public client has none"},
        {"client_id": "bot", "client_secret": "x" * 2000},
        {"client_id": "' OR 1=1--"},
        {"client_id": "x" * 10_000},
    ],
)
async def test_wrong_credentials_are_one_answer(
    clients: ClientAuthenticator, form: dict[str, str]
) -> None:
    """Unknown, disabled, wrong, missing or superfluous secret: nobody learns which."""
    error = await _error(clients, form=form)

    assert (error.status, error.error) == (401, "invalid_client")
    assert error.description == "unknown client or wrong client credentials"
    assert "WWW-Authenticate" not in error.headers


@pytest.mark.parametrize(
    "header",
    [
        _basic("bot", "wrong")[0],
        _basic("nobody", SECRET)[0],
        "Basic",
        "Basic ",
        "Basic !!!!",
        "Basic \u00e4",
        "Basic " + base64.b64encode(b"no colon").decode(),
        "Basic " + base64.b64encode(b"\xff:\xff").decode(),
        "Basic " + base64.b64encode(b"bot:%ff").decode(),
        "Bearer abc",
        "",
    ],
)
async def test_bad_basic_credentials_name_the_scheme(
    clients: ClientAuthenticator, header: str
) -> None:
    """RFC 6749 section 5.2: 401 and WWW-Authenticate: Basic."""
    error = await _error(clients, [header])

    assert (error.status, error.error) == (401, "invalid_client")
    assert error.headers["WWW-Authenticate"].startswith("Basic ")


async def test_two_methods_at_once_are_refused(clients: ClientAuthenticator) -> None:
    """RFC 6749 section 2.3: one method per request."""
    basic = _basic("bot", SECRET)

    for authorization, form in (
        (basic, {"client_secret": SECRET}),
        (basic, {"client_id": "bot", "client_secret": SECRET}),
        (basic, {"client_id": "chat"}),
        ([*basic, *basic], {}),
        ([], {"client_secret": SECRET}),
    ):
        assert isinstance(await _error(clients, authorization, form), InvalidRequest)


async def test_the_same_id_beside_basic_is_one_method(clients: ClientAuthenticator) -> None:
    """Some libraries repeat it."""
    client = await clients.identify(authorization=_basic("bot", SECRET), form={"client_id": "bot"})

    assert client.id == "bot"


def test_secrets_are_long_random_and_recognisable() -> None:
    """256 bits, so that a fast hash is enough."""
    assert new_secret() != new_secret()
    assert len(new_secret().removeprefix("cs_")) >= 43
    assert hash_secret("a") != hash_secret("b")


ISSUER = "https://localhost:8443"


def _key() -> tuple[str, str]:
    """Make a key pair: the private one as PEM, the public one as a key set."""
    private = ec.generate_private_key(ec.SECP256R1())
    pem = private.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption(),
    ).decode()
    members = jwk.construct(pem, "ES256").public_key().to_dict()
    return pem, json.dumps({"keys": [{**members, "kid": "k1"}]})


def _assertion(pem: str, now: float, **changes: object) -> dict[str, str]:
    claims = {
        "iss": "signer",
        "sub": "signer",
        "aud": ISSUER,
        "jti": "j1",
        "exp": int(now) + 60,
        **changes,
    }
    text = jws.sign(json.dumps(claims).encode(), pem, headers={"kid": "k1"}, algorithm="ES256")
    return {"client_assertion_type": ASSERTION_TYPE, "client_assertion": text}


async def test_an_assertion_proves_its_client_once(service: Service, now: float) -> None:
    """RFC 7523; replayed it is refused, and so is another key's (O20)."""
    pem, jwks = _key()
    await service.registration.add("signer", grants=["client_credentials"], scope="api", jwks=jwks)
    form = _assertion(pem, now)

    assert (await service.clients.identify(authorization=[], form=form)).id == "signer"
    for refused in (
        form,
        {"client_id": "signer"},
        _assertion(_key()[0], now, jti="j2"),
        _assertion(pem, now, jti="j3", aud=f"{ISSUER}/token"),
        {**_assertion(pem, now, jti="j4"), "client_id": "chat"},
        {**_assertion(pem, now, jti="j5"), "client_assertion_type": "other"},
        {"client_assertion_type": ASSERTION_TYPE},
    ):
        assert isinstance(await _error(service.clients, form=refused), InvalidClient)
    # What was refused for another reason did not spend its id.
    again = _assertion(pem, now, jti="j3")
    assert (await service.clients.identify(authorization=[], form=again)).id == "signer"


async def test_a_client_disabled_while_its_assertion_waits_is_refused(
    service: Service, now: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The assertion is written down, which may wait for whoever writes: that very order perhaps."""
    pem, jwks = _key()
    await service.registration.add("signer", grants=["client_credentials"], scope="api", jwks=jwks)
    writing = service.database.write

    @asynccontextmanager
    async def behind_the_order() -> AsyncIterator[AsyncConnection]:
        monkeypatch.setattr(service.database, "write", writing)
        await service.administration.disable_client("signer")
        async with writing() as connection:
            yield connection

    monkeypatch.setattr(service.database, "write", behind_the_order)

    refused = await _error(service.clients, form=_assertion(pem, now))

    assert isinstance(refused, InvalidClient)


async def test_an_assertion_of_a_client_with_a_secret_is_refused(
    clients: ClientAuthenticator, now: float
) -> None:
    """One method per client, and one per request."""
    form = _assertion(_key()[0], now, iss="bot", sub="bot")

    assert isinstance(await _error(clients, form=form), InvalidClient)
    for authorization, more in ((_basic("bot", SECRET), {}), ([], {"client_secret": SECRET})):
        assert isinstance(await _error(clients, authorization, {**form, **more}), InvalidRequest)


async def test_who_guesses_secrets_is_slowed_down(
    clients: ClientAuthenticator, service: Service
) -> None:
    """At that address; the client itself is let in from elsewhere."""
    wrong = {"client_id": "bot", "client_secret": "wrong"}
    for _ in range(service.settings.limit_client):
        with pytest.raises(InvalidClient):
            await clients.identify(authorization=[], form=wrong, address="192.0.2.1")
    with pytest.raises(TooManyAttempts):
        await clients.identify(authorization=[], form=wrong, address="192.0.2.1")

    right = {"client_id": "bot", "client_secret": SECRET}
    assert (await clients.identify(authorization=[], form=right, address="192.0.2.2")).id == "bot"
