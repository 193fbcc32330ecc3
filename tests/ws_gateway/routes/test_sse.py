"""A connection over server-sent events: by the URL, as browsers must, or by a body."""

from __future__ import annotations

from urllib.parse import quote

import httpx2
import pytest

from tests.ws_gateway.routes.front import PAGE, Front, Issuer, bearer, cookie
from tests.ws_gateway.routes.streamed_client import Streamed, emulate, sse

PATH = "/connection/sse"
CONNECT = {"id": 1, "connect": {}}
OWN_PAGE = {"Sec-Fetch-Site": "same-origin"}


async def test_a_conversation(http: httpx2.AsyncClient, issuer: Issuer) -> None:
    """Every message is an event."""
    async with sse(http, {"id": 1, "connect": {"token": issuer.mint()}}) as alice:
        await alice.connected()
        subscribed = await alice.ask({"id": 2, "subscribe": {"channel": "news"}})
        told = [
            await alice.ask({"id": 3, "publish": {"channel": "news", "data": {"n": 1}}}),
            await alice.message(),
        ]

    assert alice.response.headers["content-type"] == "text/event-stream"
    assert alice.response.headers["x-accel-buffering"] == "no"
    assert subscribed == {"id": 2, "subscribe": {}}
    assert {"id": 3, "publish": {}} in told
    assert [message["push"]["pub"]["data"] for message in told if "push" in message] == [{"n": 1}]


async def test_it_begins_with_a_line_of_its_own(http: httpx2.AsyncClient, issuer: Issuer) -> None:
    """So that the client sees the stream open."""
    async with sse(http, headers=dict([bearer(issuer.mint())])) as alice:
        first = await anext(alice.response.aiter_raw())

    assert first.startswith(b"\r\n")


async def test_a_return_in_a_payload_ends_no_line(http: httpx2.AsyncClient, issuer: Issuer) -> None:
    """Between two tokens of JSON it may stand, and there it would break the event apart."""
    async with sse(http, headers=dict([bearer(issuer.mint())])) as alice:
        await alice.connected()
        await alice.ask({"id": 2, "subscribe": {"channel": "news"}})
        data = '{"id":3,"publish":{"channel":"news","data":{\r"a"\r\n:\r1,"b":"\\r\\n"}}}'
        answer = await alice.post(data=data.replace("\n", " "))
        told = [await alice.message(), await alice.message()]

    assert answer.status_code == 204
    pushed = [message["push"]["pub"]["data"] for message in told if "push" in message]
    assert pushed == [{"a": 1, "b": "\r\n"}]


async def test_commands_may_come_by_the_body(http: httpx2.AsyncClient, issuer: Issuer) -> None:
    """Which keeps a token out of the URL."""
    body = '{"id":1,"connect":{"token":"%s"}}\n{"id":2,"subscribe":{"channel":"news"}}'
    async with http.stream("POST", PATH, content=body % issuer.mint()) as response:
        alice = Streamed(http, response, {})
        await alice.connected()

        assert await alice.message() == {"id": 2, "subscribe": {}}


@pytest.mark.parametrize(
    "query",
    [
        "",
        "?cf_connect=",
        "?cf_connect={}",
        "?cf_connect=%ff",
        "?cf_connect=" + quote('{"id":1,"connect":{}}') + "&cf_connect=" + quote("{}"),
        "?cf_connect=" + quote('{"id":1,"connect":{}}\n{"id":2,"publish":{"channel":"news"}}'),
        "?cf_connect=" + quote('{"id":1,"publish":{"channel":"news","data":1}}'),
        "?" + "&".join(f"a{number}" for number in range(100)),
    ],
)
async def test_a_url_brings_one_connect_and_nothing_else(
    http: httpx2.AsyncClient, issuer: Issuer, query: str
) -> None:
    """A GET that publishes could be caused by any picture on any page."""
    answer = await http.get(PATH + query, headers=dict([bearer(issuer.mint())]))

    assert answer.status_code == 400


@pytest.mark.parametrize("method", ["HEAD", "PUT", "DELETE"])
async def test_other_methods_open_nothing(http: httpx2.AsyncClient, method: str) -> None:
    """A HEAD would have no body to be told anything by."""
    answer = await http.request(method, f"{PATH}?cf_connect={quote('{}')}")

    assert answer.status_code == 405
    assert set(answer.headers["allow"].split(", ")) == {"GET", "POST"}


async def test_a_token_in_the_url_is_refused_where_it_is_refused_elsewhere(
    http: httpx2.AsyncClient, issuer: Issuer
) -> None:
    """``cf_connect`` is what this transport was switched on for; ``access_token`` is not."""
    answer = await http.get(f"{PATH}?access_token={issuer.mint()}&cf_connect={{}}")

    assert answer.status_code == 400


@pytest.mark.parametrize(
    ("headers", "counts"),
    [
        ({}, False),
        ({"Sec-Fetch-Site": "same-site"}, False),
        ({"Sec-Fetch-Site": "cross-site"}, False),
        ({"Sec-Fetch-Site": "none"}, False),
        (OWN_PAGE, True),
        ({"Origin": PAGE, "Sec-Fetch-Site": "same-site"}, True),
    ],
)
async def test_a_cookie_counts_where_its_page_is_known(
    http: httpx2.AsyncClient, issuer: Issuer, headers: dict[str, str], counts: bool
) -> None:
    """A GET to one's own origin has no ``Origin``, and one that another page caused has none."""
    given = headers | dict([cookie(issuer.mint())])
    async with sse(http, headers=given) as visitor:
        reply = await visitor.message()

    if counts:
        assert reply["connect"]["session"]
    else:
        assert reply["error"]["code"] == 109


async def test_a_pages_get_and_its_posts_are_of_one_origin(
    http: httpx2.AsyncClient, issuer: Issuer
) -> None:
    """Though only the latter name it."""
    async with sse(http, headers=OWN_PAGE | dict([cookie(issuer.mint())])) as alice:
        await alice.connected()
        body = {
            "session": alice.result["session"],
            "node": alice.result["node"],
            "data": '{"id":2,"subscribe":{"channel":"news"}}',
        }
        others = [
            await emulate(http, body, headers)
            for headers in ({}, {"Origin": PAGE}, {"Origin": PAGE, "Sec-Fetch-Site": "same-site"})
        ]
        own = await emulate(http, body, OWN_PAGE | {"Origin": PAGE})
        reply = await alice.message()

    assert [answer.status_code for answer in others] == [404] * 3
    assert own.status_code == 204
    assert reply == {"id": 2, "subscribe": {}}


async def test_pages_of_foreign_origins_are_refused(
    http: httpx2.AsyncClient, streaming: Front, issuer: Issuer
) -> None:
    """Also where they know a token."""
    headers = {"Origin": "https://evil.example"} | dict([bearer(issuer.mint())])
    answer = await http.get(f"{PATH}?cf_connect={quote('{}')}", headers=headers)
    preflight = await http.options(PATH, headers=headers)

    assert (answer.status_code, preflight.status_code) == (403, 403)
    for refusal in (answer, preflight):
        assert not [name for name in refusal.headers if name.startswith("access-control")]
    assert streaming.outcome("forbidden") == 1
