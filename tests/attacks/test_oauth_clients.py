"""O16 to O20: who a client says it is, and what it may ask for."""

from __future__ import annotations

import base64
import time
from collections.abc import Callable
from typing import Any
from urllib.parse import quote

import httpx2
import pytest

from tests.attacks.running import PASSWORD, SECRET, Services
from tests.attacks.token_requests import refused, session

pytestmark = pytest.mark.integration


@pytest.mark.parametrize(
    ("headers", "form"),
    [
        ({}, {"client_id": "bot", "client_secret": "wrong"}),
        ({}, {"client_id": "bot"}),
        ({}, {"client_id": "nobody", "client_secret": SECRET}),
        ({}, {"client_id": "spa", "client_secret": SECRET}),
        ({}, {"client_id": "' OR 1=1--", "client_secret": SECRET}),
        ({"Authorization": "Basic !!!!"}, {}),
        ({"Authorization": "Basic"}, {}),
        ({"Authorization": "Basic " + base64.b64encode(b"no colon").decode()}, {}),
        ({"Authorization": "Basic " + base64.b64encode(b"bot:%ff").decode()}, {}),
        ({"Authorization": "Bearer x"}, {}),
    ],
)
def test_o16_bad_client_credentials(
    services: Services, headers: dict[str, str], form: dict[str, str]
) -> None:
    """One answer, with the scheme where one was used."""
    answer = services.http.post(
        "/token", data={"grant_type": "client_credentials", **form}, headers=headers
    )

    refused(answer, 401, "invalid_client")
    if headers:
        assert answer.headers["WWW-Authenticate"].startswith("Basic ")


def basic(client_id: str, secret: str) -> str:
    """Write HTTP Basic as RFC 6749 section 2.3.1 has it."""
    pair = f"{quote(client_id, safe='')}:{quote(secret, safe='')}"
    return "Basic " + base64.b64encode(pair.encode()).decode()


def test_o16_a_secret_with_every_character_works(services: Services) -> None:
    """Form-encoded before base64."""
    answer = services.http.post(
        "/token",
        data={"grant_type": "client_credentials"},
        headers={"Authorization": basic("bot", SECRET)},
    )

    assert answer.status_code == httpx2.codes.OK


@pytest.mark.parametrize(
    ("headers", "form"),
    [
        ([("Authorization", basic("bot", SECRET))], {"client_secret": SECRET}),
        ([("Authorization", basic("bot", SECRET))], {"client_id": "app"}),
        ([("Authorization", basic("bot", SECRET))] * 2, {}),
        ([], {"client_secret": SECRET}),
    ],
)
def test_o16_one_method_at_a_time(
    services: Services, headers: list[tuple[str, str]], form: dict[str, str]
) -> None:
    """RFC 6749 section 2.3."""
    answer = services.http.post(
        "/token", data={"grant_type": "client_credentials", **form}, headers=headers
    )

    refused(answer, 400, "invalid_request")


@pytest.mark.parametrize("client_id", ["app", "spa", "device"])
def test_o17_public_clients_are_nobody(services: Services, client_id: str) -> None:
    """Without a proof no tokens of one's own."""
    refused(
        services.token(grant_type="client_credentials", client_id=client_id),
        400,
        "unauthorized_client",
    )


def test_o17_the_password_grant_is_for_those_who_have_it(services: Services) -> None:
    """RFC 9700 section 2.4."""
    refused(services.token(client_id="spa"), 400, "unauthorized_client")


@pytest.mark.parametrize(
    "scope",
    [
        "nonsense",
        "connect nonsense",
        "api",
        "connect introspect",
        "a  b",
        ' "',
        "a\\b",
        "é",
        " connect",
        " ".join(f"s{number}" for number in range(2_000)),
    ],
)
def test_o18_scopes_are_small_and_known(services: Services, scope: str) -> None:
    """Users never get those of services."""
    answer = services.token(scope=scope)

    assert answer.status_code in {400, 413}
    assert answer.json()["error"] in {"invalid_scope", "invalid_request"}


def test_o18_a_scope_said_twice_is_one(services: Services) -> None:
    """A set."""
    assert session(services, scope="connect connect")["scope"] == "connect"


def test_o19_users_and_clients_do_not_clash(services: Services) -> None:
    """A user may be called like a client; the subjects differ."""
    services.order("users", "add", "bot", "--password-stdin", given=PASSWORD + "\n")
    user = services.introspect(session(services, username="bot")["access_token"])
    own = services.http.post(
        "/token", data={"grant_type": "client_credentials"}, auth=("bot", quote(SECRET, safe=""))
    ).json()

    assert services.introspect(own["access_token"])["sub"] == "client:bot"
    assert user["sub"] != "client:bot"
    assert "refresh_token" not in own


def signed(services: Services, assertion: str, **form: str) -> httpx2.Response:
    """Ask for a token with a signed assertion."""
    kind = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer"
    data = {
        "grant_type": "client_credentials",
        "client_assertion_type": kind,
        "client_assertion": assertion,
        **form,
    }
    return services.http.post("/token", data=data)


def test_o20_an_assertion_is_good_once(services: Services) -> None:
    """RFC 7523, by ES256."""
    assertion = services.forge.assertion()

    assert signed(services, assertion).status_code == httpx2.codes.OK
    refused(signed(services, assertion), 401, "invalid_client")


@pytest.mark.parametrize(
    "make",
    [
        lambda forge: forge.assertion(exp=int(time.time()) + 3600),
        lambda forge: forge.assertion(exp=int(time.time()) - 60),
        lambda forge: forge.assertion(exp=...),
        lambda forge: forge.assertion(aud=forge.issuer + "/token"),
        lambda forge: forge.assertion(aud=[forge.issuer]),
        lambda forge: forge.assertion(aud=[forge.issuer, "https://other.example"]),
        lambda forge: forge.assertion(aud=...),
        lambda forge: forge.assertion(iss="bot"),
        lambda forge: forge.assertion(sub="bot"),
        lambda forge: forge.assertion(iss="bot", sub="bot"),
        lambda forge: forge.assertion(jti=...),
        lambda forge: forge.assertion(jti=""),
        lambda forge: forge.assertion({"alg": "HS256"}),
        lambda forge: forge.assertion({"alg": "none"}),
        lambda forge: forge.assertion({"kid": "c2"}),
        lambda forge: forge.assertion({"crit": ["x"]}),
        lambda forge: forge.assertion().rpartition(".")[0] + ".",
        lambda forge: forge.assertion() + "AAAA",
        lambda forge: forge.token(),
        lambda _: "x",
    ],
)
def test_o20_bad_assertions(services: Services, make: Callable[[Any], str]) -> None:
    """Whatever is wrong, the client is unknown."""
    refused(signed(services, make(services.forge)), 401, "invalid_client")


def test_o20_an_assertion_is_no_access_token(services: Services) -> None:
    """J9, the other way round."""
    assertion = services.forge.assertion().encode()

    assert services.handshake(b"Authorization: Bearer " + assertion).startswith(b"HTTP/1.1 401 ")
