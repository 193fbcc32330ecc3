"""What comes to the door with a bad credential, and the answer it gets before the upgrade."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
from collections.abc import Callable, Mapping

import pytest
from websockets.exceptions import InvalidStatus
from websockets.typing import Subprotocol

from tests.integration.embedded import Embedded, ask, encode_segment

pytestmark = pytest.mark.integration

Headers = list[tuple[str, str]]


def bearer(token: str) -> Headers:
    """Write the header of a token."""
    return [("Authorization", f"Bearer {token}")]


def assemble(header: Mapping[str, object] | str, like: str, signature: bytes | None = None) -> str:
    """Put another header before the claims of a good token."""
    text = header if isinstance(header, str) else json.dumps(header)
    _, claims, old = like.split(".")
    last = old if signature is None else encode_segment(signature)
    return f"{encode_segment(text.encode())}.{claims}.{last}"


def unsigned(server: Embedded) -> str:
    """Return a token that says that it needs no signature (RFC 8725 section 2.1)."""
    header = {"alg": "none", "typ": "at+jwt", "kid": server.kid}
    return assemble(header, server.sign(), b"")


def confused(server: Embedded) -> str:
    """Return a token signed by HMAC with the public key (RFC 8725 section 2.1)."""
    header = {"alg": "HS256", "typ": "at+jwt", "kid": server.kid}
    body = assemble(header, server.sign()).rpartition(".")[0]
    key = json.dumps(server.jwk).encode()
    return f"{body}.{encode_segment(hmac.digest(key, body.encode(), hashlib.sha256))}"


BAD_TOKENS: dict[str, Callable[[Embedded], str]] = {
    "expired": lambda server: server.sign(lifetime=-60),
    "of the far future": lambda server: server.sign(lifetime=10**6),
    "for another audience": lambda server: server.sign(aud=["another"]),
    "of another issuer": lambda server: server.sign(iss="https://localhost"),
    "of another type": lambda server: server.sign(header={"typ": "JWT"}),
    "unsigned": unsigned,
    "signed with the public key": confused,
    "of an unknown key": lambda server: server.sign(header={"kid": "unknown"}),
    "with a critical extension": lambda server: server.sign(header={"crit": ["exp"]}),
    "with a nested header": lambda server: assemble("[" * 400, server.sign()),
    "with junk behind it": lambda server: server.sign() + "AAAA",
    "with a fourth part": lambda server: server.sign() + ".AAAA",
    "with its signature cut": lambda server: server.sign()[:-8],
    "not a token at all": lambda _: "letmein",
}

BAD_HEADERS: dict[str, tuple[int, Callable[[str], Headers]]] = {
    "the scheme alone": (401, lambda _: [("Authorization", "Bearer")]),
    "two blanks": (401, lambda token: [("Authorization", f"Bearer  {token}")]),
    "another scheme": (401, lambda token: [("Authorization", f"Basic {token}")]),
    "no scheme": (401, lambda token: [("Authorization", token)]),
    "two headers": (400, lambda token: bearer(token) * 2),
    "a foreign origin": (403, lambda token: [*bearer(token), ("Origin", "https://evil.example")]),
    "the origin null": (403, lambda token: [*bearer(token), ("Origin", "null")]),
    "a foreign origin, no token": (403, lambda _: [("Origin", "https://evil.example")]),
    "an origin with a slash": (403, lambda _: [("Origin", "https://localhost:8443/")]),
}


async def refused(server: Embedded, token: str, headers: Headers, *names: str) -> InvalidStatus:
    """Try to connect; one line is logged, and nothing of the token in it."""
    with server.logged() as lines, pytest.raises(InvalidStatus) as caught:
        async with server.bare(
            additional_headers=headers, subprotocols=[Subprotocol(name) for name in names] or None
        ):
            pass
    assert [line["event"] for line in lines] == ["handshake refused"]
    assert lines[0]["status"] == caught.value.response.status_code
    text = json.dumps(lines)
    assert not [part for part in token.split(".") if part and part in text]
    assert server.metric("gateway_connections") == 0
    return caught.value


@pytest.mark.parametrize("kind", BAD_TOKENS)
async def test_a_bad_token_is_refused_before_the_upgrade(server: Embedded, kind: str) -> None:
    """401 with the challenge of RFC 6750 section 3, which says no more than that it is invalid."""
    token = BAD_TOKENS[kind](server)

    answer = (await refused(server, token, bearer(token))).response

    assert answer.status_code == 401
    assert answer.headers["WWW-Authenticate"] == 'Bearer realm="drawbridge", error="invalid_token"'


@pytest.mark.parametrize("kind", ["expired", "unsigned"])
async def test_a_bad_token_in_the_subprotocol_is_refused_alike(server: Embedded, kind: str) -> None:
    """A browser's way to bring the token knows the same rules."""
    token = BAD_TOKENS[kind](server)

    answer = (await refused(server, token, [], "centrifuge-json", f"bearer.{token}")).response

    assert answer.status_code == 401
    assert "WWW-Authenticate" in answer.headers


@pytest.mark.parametrize("kind", BAD_HEADERS)
async def test_a_bad_header_is_refused_before_the_upgrade(server: Embedded, kind: str) -> None:
    """A good token does not help a request that is wrong around it."""
    status, headers = BAD_HEADERS[kind]
    token = server.sign()

    answer = (await refused(server, token, headers(token))).response

    assert answer.status_code == status
    assert ("WWW-Authenticate" in answer.headers) is (status == 401)


@pytest.mark.parametrize(
    ("with_header", "names"),
    [
        (True, ("centrifuge-json", "bearer.{token}")),
        (False, ("bearer.{token}",)),
        (False, ("centrifuge-json", "bearer.")),
        (False, ("centrifuge-json", "bearer.{token}", "bearer.x")),
        (True, ("graphql-ws",)),
    ],
)
async def test_bad_subprotocols_are_refused(
    server: Embedded, with_header: bool, names: tuple[str, ...]
) -> None:
    """400: two credentials, a bearer alone, an empty one, two of them, only unknown names."""
    token = server.sign()
    offered = [name.format(token=token) for name in names]

    answer = (await refused(server, token, bearer(token) if with_header else [], *offered)).response

    assert answer.status_code == 400


async def test_a_token_too_long_for_any_header_is_refused(server: Embedded) -> None:
    """A request's head is bounded: 431 past 16 KiB."""
    token = "A" * 100_000

    with server.logged() as lines, pytest.raises(InvalidStatus) as caught:
        async with server.bare(token):
            pass

    assert caught.value.response.status_code == 431
    assert [(line["event"], line["status"]) for line in lines] == [("request refused", 431)]
    assert "AAAA" not in json.dumps(lines)


async def test_a_token_in_the_url_is_refused(server: Embedded) -> None:
    """Logs of every hop would hold it; where it comes anyway, ours does not."""
    token = server.sign()

    with server.logged() as lines:
        answer = server.http.get(
            "/connection/websocket",
            params={"access_token": token},
            headers={
                "Connection": "Upgrade",
                "Upgrade": "websocket",
                "Sec-WebSocket-Version": "13",
                "Sec-WebSocket-Key": base64.b64encode(bytes(16)).decode(),
            },
        )

    assert answer.status_code == 400
    assert len(lines) == 1
    assert token.split(".")[1] not in json.dumps(lines)


async def test_the_subprotocol_brings_a_good_token(server: Embedded) -> None:
    """The answer names the real subprotocol, and the token never comes back."""
    names = ["centrifuge-json", f"bearer.{server.sign()}"]

    async with server.bare(
        subprotocols=[Subprotocol(name) for name in names], origin=server.url
    ) as connection:
        reply = await ask(connection, id=1, connect={})

    assert connection.subprotocol == "centrifuge-json"
    assert "subs" in reply["connect"]


async def test_the_cookie_of_the_front_brings_a_good_token(server: Embedded) -> None:
    """A browser's cookie counts with an origin, and a bad one is as none: connect answers 109."""
    headers = {"Cookie": f"__Host-drawbridge={server.sign()}"}
    async with server.bare(additional_headers=headers, origin=server.url) as connection:
        assert "connect" in await ask(connection, id=1, connect={})

    headers = {"Cookie": f"__Host-drawbridge={server.sign(lifetime=-60)}"}
    async with server.bare(additional_headers=headers, origin=server.url) as connection:
        assert (await ask(connection, id=1, connect={}))["error"]["code"] == 109
