"""When the page comes back and when it stays away, before a gateway that obeys the test."""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import AsyncIterator

import pytest
import pytest_asyncio
from playwright.async_api import Page, WebSocketRoute, expect

from tests.integration.browser import COOKIE, Visitor, chromium
from tests.integration.embedded import Embedded

pytestmark = [pytest.mark.integration, pytest.mark.asyncio(loop_scope="module")]

CONNECTED = {"client": "c", "version": "v", "ping": 25, "pong": True, "subs": {}}


class Gateway:
    """What the page talks to instead of the real one."""

    def __init__(self) -> None:
        self.sockets: list[WebSocketRoute] = []
        self.commands: list[dict[str, object]] = []
        self.answers: dict[str, object] = {}

    async def attach(self, page: Page) -> None:
        """Take the place of the real one for a page."""
        await page.route_web_socket(re.compile("/connection/websocket$"), self._open)

    def _open(self, socket: WebSocketRoute) -> None:
        self.sockets.append(socket)
        socket.on_message(lambda text: self._receive(socket, str(text)))

    def _receive(self, socket: WebSocketRoute, text: str) -> None:
        command = json.loads(text)
        self.commands.append(command)
        if "id" not in command:
            return
        name = next(key for key in command if key != "id")
        answer = self.answers.get(name, {name: CONNECTED if name == "connect" else {}})
        if answer is not None:
            socket.send(json.dumps({"id": command["id"]} | dict(answer)))  # type: ignore[call-overload]

    def count(self, name: str) -> int:
        """Count the commands of a name."""
        return sum(name in command for command in self.commands)


@pytest_asyncio.fixture(loop_scope="module", scope="module")
async def page(running: Embedded) -> AsyncIterator[Page]:
    """A page of somebody who has logged in."""
    async with chromium() as browser:
        context = await browser.new_context(ignore_https_errors=True, base_url=running.url)
        yield await context.new_page()
        await context.close()


@pytest_asyncio.fixture(loop_scope="module")
async def gateway(page: Page, running: Embedded) -> AsyncIterator[Gateway]:
    """The gateway, not yet connected to."""
    made = Gateway()
    await page.unroute_all()
    await page.context.add_cookies(
        [{"name": COOKIE, "value": running.token(), "url": running.url, "secure": True}]
    )
    await made.attach(page)
    yield made
    await page.goto("about:blank")


@pytest.fixture
def visitor(page: Page, running: Embedded) -> Visitor:
    """Who looks at the page."""
    return Visitor(page, running)


async def test_the_codes_say_whether_to_come_back(gateway: Gateway, visitor: Visitor) -> None:
    """The protocol's ranges, and 1009, after which the same would happen again."""
    await visitor.page.goto("/")
    terminal = await visitor.page.evaluate(
        """async () => {
            const { isTerminal } = await import("/static/gateway/connection.js");
            return [1000, 1001, 1002, 1006, 1009, 3000, 3001, 3012, 3499, 3500, 3501, 3999, 4000,
                4499, 4500, 4999].filter(isTerminal);
        }"""
    )

    assert terminal == [1009, 3500, 3501, 3999, 4500, 4999]
    await expect(visitor.state).to_have_text("connected")
    assert gateway.sockets


async def test_the_delay_grows_is_bounded_and_differs(gateway: Gateway, visitor: Visitor) -> None:
    """Full jitter: from a quarter of a second up to at most twenty."""
    await visitor.page.goto("/")
    delays = await visitor.page.evaluate(
        """async () => {
            const { backoff } = await import("/static/gateway/connection.js");
            return [0, 1, 4, 10, 1000].map((n) => [backoff(n, () => 0), backoff(n, () => 1)]);
        }"""
    )

    assert delays == [[250, 500], [250, 1000], [250, 8000], [250, 20000], [250, 20000]]
    await expect(visitor.state).to_have_text("connected")
    assert gateway.sockets


@pytest.mark.parametrize("code", [1001, 1011, 3001, 3004, 3008, 3011, 3012])
async def test_after_these_codes_it_comes_back(
    gateway: Gateway, visitor: Visitor, code: int
) -> None:
    """And subscribes anew."""
    await visitor.page.goto("/")
    await expect(visitor.state).to_have_text("connected")

    await gateway.sockets[0].close(code=code, reason="said the test")

    await expect(visitor.message("Connected again", "note")).to_be_visible()
    assert gateway.count("connect") == gateway.count("subscribe") == 2


@pytest.mark.parametrize("code", [1009, 3501, 3503, 3507, 4500])
async def test_after_these_codes_it_stays_away(
    gateway: Gateway, visitor: Visitor, code: int
) -> None:
    """The reason is shown, and nothing is tried again."""
    await visitor.page.goto("/")
    await expect(visitor.state).to_have_text("connected")

    await gateway.sockets[0].close(code=code, reason="said <b>the test</b>")

    await expect(visitor.state).to_have_text("disconnected")
    await expect(visitor.error).to_contain_text("said <b>the test</b>")
    await visitor.page.wait_for_timeout(700)
    assert len(gateway.sockets) == 1


@pytest.mark.parametrize("code", [3005, 3500])
async def test_when_the_session_is_over_it_asks_for_the_password(
    gateway: Gateway, visitor: Visitor, code: int
) -> None:
    """The cookie is gone, so /users/me says 401."""
    await visitor.page.goto("/")
    await expect(visitor.state).to_have_text("connected")
    await visitor.context.clear_cookies()

    await gateway.sockets[0].close(code=code, reason="over")

    await expect(visitor.page).to_have_url(re.compile("/login$"))


async def test_a_session_that_only_one_side_knows_does_not_go_round(
    gateway: Gateway, visitor: Visitor
) -> None:
    """Good at /users/me, refused at the gateway: once more, then the password."""
    gateway.answers["connect"] = {"error": {"code": 109, "message": "token expired"}}

    await visitor.page.goto("/")

    await expect(visitor.page).to_have_url(re.compile("/login$"))
    assert gateway.count("connect") == 2


async def test_a_temporary_refusal_is_tried_again(gateway: Gateway, visitor: Visitor) -> None:
    """Error 100 on connect, and then on subscribe."""
    gateway.answers["connect"] = {"error": {"code": 100, "message": "internal error"}}
    await visitor.page.goto("/")
    await expect(visitor.state).to_have_text("reconnecting\u2026")
    gateway.answers = {"subscribe": {"error": {"code": 100, "message": "internal error"}}}

    await expect(visitor.state).to_have_text("connected")
    gateway.answers = {}
    before = gateway.count("subscribe")

    async with asyncio.timeout(15):
        while gateway.count("subscribe") == before:  # noqa: ASYNC110
            await asyncio.sleep(0.05)


async def test_a_room_that_is_closed_meanwhile_is_told(gateway: Gateway, visitor: Visitor) -> None:
    """Refused for good after a reconnect: silence would look like a quiet room."""
    await visitor.page.goto("/")
    await expect(visitor.state).to_have_text("connected")
    gateway.answers = {"subscribe": {"error": {"code": 103, "message": "permission denied"}}}

    await gateway.sockets[0].close(code=3001, reason="shutdown")

    await expect(visitor.message("You are out", "note")).to_contain_text("may not do this")


async def test_pings_are_answered(gateway: Gateway, visitor: Visitor) -> None:
    """By the same empty object, once each."""
    await visitor.page.goto("/")
    await expect(visitor.state).to_have_text("connected")

    gateway.sockets[0].send("{}\n{}")
    await visitor.say("x")
    await expect(visitor.composer).to_have_value("")

    assert gateway.commands.count({}) == 2


@pytest.mark.parametrize(("code", "again"), [(2000, False), (2500, True)])
async def test_an_unsubscribed_room_is_joined_again_if_it_may_be(
    gateway: Gateway, visitor: Visitor, code: int, again: bool
) -> None:
    """Below 2500 the server means it."""
    await visitor.page.goto("/")
    await expect(visitor.state).to_have_text("connected")
    gone = {"channel": "lobby", "unsubscribe": {"code": code, "reason": "said the test"}}

    gateway.sockets[0].send(json.dumps({"push": gone}))

    if not again:
        await expect(visitor.message("You are out: said the test", "note")).to_be_visible()
    await visitor.page.wait_for_timeout(200)
    assert gateway.count("subscribe") == 1 + again


async def test_what_may_or_may_not_have_arrived_is_not_called_sent(
    gateway: Gateway, visitor: Visitor
) -> None:
    """The connection went before the answer came."""
    gateway.answers["publish"] = None
    await visitor.page.goto("/")
    await expect(visitor.state).to_have_text("connected")
    await visitor.say("to be or not")

    await gateway.sockets[0].close(code=3001, reason="shutdown")

    await expect(visitor.message("to be or not", "own")).to_contain_text("perhaps it arrived")


async def test_what_was_missed_is_asked_for(gateway: Gateway, visitor: Visitor, page: Page) -> None:
    """From where the room was heard last; what comes of it is shown, and nothing is missing."""
    gateway.answers["subscribe"] = {"subscribe": {"epoch": "e", "offset": 7, "recoverable": True}}
    await page.goto("/")
    await expect(visitor.state).to_have_text("connected")
    push = {"channel": "lobby", "pub": {"data": "heard", "offset": 8}}
    gateway.sockets[-1].send(json.dumps({"push": push}))
    await expect(visitor.message("heard")).to_be_visible()
    missed = {"data": "missed", "offset": 9}
    gateway.answers["subscribe"] = {
        "subscribe": {"epoch": "e", "offset": 8, "recovered": True, "publications": [missed]}
    }

    await gateway.sockets[-1].close(code=3001, reason="shutdown")

    await expect(visitor.message("missed")).to_be_visible()
    await expect(visitor.message("Connected again.", "note")).to_have_text("Connected again.")
    asked = [command["subscribe"] for command in gateway.commands if "subscribe" in command]
    lobby = {"channel": "lobby", "join_leave": True}
    assert asked == [lobby, lobby | {"recover": True, "offset": 8, "epoch": "e"}]
    assert gateway.count("history") == 1


async def test_what_cannot_be_had_any_more_is_said_to_be_missing(
    gateway: Gateway, visitor: Visitor, page: Page
) -> None:
    """Another epoch, or too much: never silence."""
    gateway.answers["subscribe"] = {"subscribe": {"epoch": "e", "offset": 7}}
    await page.goto("/")
    await expect(visitor.state).to_have_text("connected")
    gateway.answers["subscribe"] = {"subscribe": {"epoch": "f", "offset": 2}}

    await gateway.sockets[-1].close(code=3001, reason="shutdown")

    await expect(visitor.message("is not shown", "note")).to_be_visible()


async def test_a_room_that_tells_nothing_about_itself_is_a_room(
    gateway: Gateway, visitor: Visitor, page: Page
) -> None:
    """No history, no presence: only what is said from now on."""
    for name in ("presence", "history"):
        gateway.answers[name] = {"error": {"code": 108, "message": "not available"}}
    await page.goto("/")
    await expect(visitor.state).to_have_text("connected")
    info = {"user": "u", "client": "c"}
    for push in ({"join": {"info": info}}, {"leave": {"info": info}}, {"pub": {"data": "said"}}):
        gateway.sockets[-1].send(json.dumps({"push": {"channel": "lobby"} | push}))

    await expect(visitor.message("said")).to_be_visible()

    await expect(visitor.log.locator("li")).to_have_count(1)
    await expect(page.locator("#kind")).to_have_text("")
