"""O10 to O14, O23 and O24: refresh tokens, revocation and introspection."""

from __future__ import annotations

import re
from concurrent.futures import ThreadPoolExecutor
from urllib.parse import quote

import httpx2
import pytest

from tests.attacks.running import PASSWORD, SECRET, Services
from tests.attacks.token_requests import once, refused, session

pytestmark = pytest.mark.integration


def test_o10_a_replay_ends_the_session(services: Services) -> None:
    """Beyond the grace, or after the successor was used: the family is dead."""
    old = session(services)
    new = services.refresh(old["refresh_token"]).json()
    assert services.refresh(new["refresh_token"]).status_code == httpx2.codes.OK

    refused(services.refresh(old["refresh_token"]), 400, "invalid_grant")

    refused(services.refresh(new["refresh_token"]), 400, "invalid_grant")
    assert services.introspect(new["access_token"]) == {"active": False}
    assert services.me(new["access_token"]).status_code == httpx2.codes.UNAUTHORIZED


def test_o10_a_forgery_ends_nothing(services: Services) -> None:
    """Who knows a sid, which is in every access token, must not be able to end the session."""
    good = session(services)
    sid, generation, chain, mac = good["refresh_token"].removeprefix("rt_").split(".")
    swapped = chain[::-1]

    for text in (
        f"rt_{sid}.{generation}.{swapped}.{mac}",
        f"rt_{sid}.{int(generation) + 1}.{chain}.{mac}",
        f"rt_{sid}.0.{swapped}.{mac[::-1]}",
        f"rt_{sid}.99.{chain}.{mac}",
        "rt_" + sid,
        "rt_....",
        good["refresh_token"] + "x",
    ):
        refused(services.refresh(text), 400, "invalid_grant")

    assert services.refresh(good["refresh_token"]).status_code == httpx2.codes.OK


def test_o11_twenty_at_once_leave_one_descendant(services: Services) -> None:
    """All answers within the grace are the same successor, which alone goes on."""
    old = session(services)["refresh_token"]

    with ThreadPoolExecutor(20) as pool:
        answers = list(
            pool.map(
                lambda _: once(
                    services,
                    {"grant_type": "refresh_token", "client_id": "app", "refresh_token": old},
                ),
                range(20),
            )
        )

    assert {answer.status_code for answer in answers} == {200}
    successors = {answer.json()["refresh_token"] for answer in answers}
    assert len(successors) == 1
    assert services.refresh(successors.pop()).status_code == httpx2.codes.OK


def test_o12_a_lost_answer_may_be_asked_for_again(services: Services) -> None:
    """Within the grace, and only until the successor was used."""
    old = session(services)["refresh_token"]
    first = services.refresh(old).json()["refresh_token"]

    assert services.refresh(old).json()["refresh_token"] == first
    assert services.refresh(first).status_code == httpx2.codes.OK
    refused(services.refresh(old), 400, "invalid_grant")


@pytest.mark.parametrize(
    ("form", "error"),
    [
        ({"client_id": "other"}, "unauthorized_client|invalid_grant"),
        ({"client_id": "spa"}, "invalid_grant"),
        ({"scope": "connect api"}, "invalid_scope"),
        ({"scope": "a  b"}, "invalid_scope"),
    ],
)
def test_o13_others_get_nothing_for_it(
    services: Services, form: dict[str, str], error: str
) -> None:
    """Another client, a wider scope; and the token is still good for its owner."""
    token = session(services)["refresh_token"]

    answer = services.refresh(token, **form)

    assert answer.status_code == httpx2.codes.BAD_REQUEST
    assert re.fullmatch(error, answer.json()["error"])
    assert services.refresh(token).status_code == httpx2.codes.OK


def test_o13_a_client_with_a_secret_must_show_it(services: Services) -> None:
    """Its refresh tokens are no use without."""
    answer = services.token(client_id="bot", client_secret=SECRET)
    token = answer.json()["refresh_token"]

    refused(services.refresh(token, client_id="bot"), 401, "invalid_client")
    assert (
        services.refresh(token, client_id="bot", client_secret=SECRET).status_code
        == httpx2.codes.OK
    )


def test_o13_a_disabled_user_is_out(services: Services) -> None:
    """And stays out when enabled again: the sessions have ended."""
    services.order("users", "add", "dora", "--password-stdin", given=PASSWORD + "\n")
    tokens = session(services, username="dora")

    services.order("users", "disable", "dora")
    refused(services.refresh(tokens["refresh_token"]), 400, "invalid_grant")
    assert services.introspect(tokens["access_token"]) == {"active": False}
    services.order("users", "enable", "dora")

    refused(services.refresh(tokens["refresh_token"]), 400, "invalid_grant")
    assert services.token(username="dora").status_code == httpx2.codes.OK


def test_o13_a_changed_password_ends_what_was_before(services: Services) -> None:
    """Log in again in the same second, and it counts."""
    services.order("users", "add", "emil", "--password-stdin", given=PASSWORD + "\n")
    tokens = session(services, username="emil")
    new = "another long password"

    answer = services.http.post(
        "/users/me/password",
        json={"password": PASSWORD, "new_password": new},
        headers={"Authorization": f"Bearer {tokens['access_token']}"},
    )
    again = session(services, username="emil", password=new)

    assert answer.status_code in {200, 204}, answer.text
    refused(services.refresh(tokens["refresh_token"]), 400, "invalid_grant")
    assert services.me(tokens["access_token"]).status_code == httpx2.codes.UNAUTHORIZED
    assert services.me(again["access_token"]).status_code == httpx2.codes.OK


def test_o14_tokens_are_not_taken_for_one_another(services: Services) -> None:
    """An access token does not refresh; a refresh token opens nothing."""
    tokens = session(services)

    refused(services.refresh(tokens["access_token"]), 400, "invalid_grant")
    assert services.me(tokens["refresh_token"]).status_code == httpx2.codes.UNAUTHORIZED
    bearer = b"Authorization: Bearer " + tokens["refresh_token"].encode()
    assert services.handshake(bearer).startswith(b"HTTP/1.1 401 ")


def revoke(services: Services, token: str, **form: str) -> httpx2.Response:
    """Give a token back."""
    return services.http.post("/revoke", data={"client_id": "app", "token": token, **form})


def test_o23_revocation_says_nothing_about_a_token(services: Services) -> None:
    """200 for unknown, garbage, wrong hints and the second time."""
    tokens = session(services)

    for text in ("unknown", "rt_x", "a.b.c", "x" * 4000):
        assert revoke(services, text).status_code == httpx2.codes.OK
    hint = {"token_type_hint": "access_token"}
    assert revoke(services, tokens["refresh_token"], **hint).status_code == httpx2.codes.OK
    assert revoke(services, tokens["refresh_token"]).status_code == httpx2.codes.OK
    assert services.introspect(tokens["access_token"]) == {"active": False}
    refused(services.refresh(tokens["refresh_token"]), 400, "invalid_grant")


def test_o23_one_access_token_is_revoked_alone(services: Services) -> None:
    """The session goes on."""
    tokens = session(services)

    assert revoke(services, tokens["access_token"]).status_code == httpx2.codes.OK

    assert services.introspect(tokens["access_token"]) == {"active": False}
    assert services.me(tokens["access_token"]).status_code == httpx2.codes.UNAUTHORIZED
    assert services.refresh(tokens["refresh_token"]).status_code == httpx2.codes.OK


def test_o23_another_clients_token_stays(services: Services) -> None:
    """Neither is it revoked, nor is the other told anything."""
    tokens = session(services)

    revoke(services, tokens["refresh_token"], client_id="other")

    assert services.refresh(tokens["refresh_token"]).status_code == httpx2.codes.OK


def test_o23_a_client_must_be_known(services: Services) -> None:
    """GET is no way either."""
    refused(revoke(services, "x", client_id="nobody"), 401, "invalid_client")
    assert services.http.get("/revoke").status_code == httpx2.codes.METHOD_NOT_ALLOWED


def test_o24_introspection_is_for_who_may(services: Services) -> None:
    """Nobody, a public client and one without the scope learn nothing."""
    token = session(services)["access_token"]
    data = {"token": token}

    for form in ({}, {"client_id": "app"}, {"client_id": "bot", "client_secret": "wrong"}):
        answer = services.http.post("/introspect", data=data | form)
        assert answer.status_code in {401, 403}, answer.text
        assert "active" not in answer.text


@pytest.mark.parametrize("token", ["x", "a.b.c", "rt_x", "\u00e9", "x" * 5000])
def test_o24_garbage_is_inactive(services: Services, token: str) -> None:
    """Exactly that, and nothing more."""
    assert services.introspect(token) == {"active": False}


def test_o24_a_megabyte_is_too_much(services: Services) -> None:
    """Refused by its length."""
    answer = services.http.post(
        "/introspect", data={"token": "x" * 1_000_000}, auth=("bot", quote(SECRET, safe=""))
    )

    refused(answer, 413, "invalid_request")
