"""Client authentication."""

from __future__ import annotations

import base64
from collections.abc import Mapping, Sequence
from urllib.parse import quote_plus

import pytest

from auth_service.app import Service
from auth_service.clients import ClientAuthenticator, hash_secret, new_secret
from auth_service.exceptions import InvalidClient, InvalidRequest, OAuth2Error
from auth_service.models import Client

SECRET = "p%+: \u00e4=&x"


@pytest.fixture
async def clients(service: Service) -> ClientAuthenticator:
    """A public client `chat`, which is the default, and three confidential ones."""
    for client_id, disabled in (("bot", False), ("gone", True)):
        await service.store.add_client(
            Client(
                client_id,
                hash_secret(SECRET),
                frozenset({"password"}),
                frozenset({"connect"}),
                disabled,
                1,
            )
        )
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
    clients = ClientAuthenticator(store=service.store, default_client="")

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
