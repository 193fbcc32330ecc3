"""The pages in a browser: two people talk, and what is meant to harm them does not."""

from __future__ import annotations

import asyncio
import os
import re
import secrets
import signal
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio
from jose import jwt
from playwright.async_api import Browser, expect
from websockets.asyncio.client import connect
from websockets.exceptions import InvalidStatus

from tests.integration.browser import COOKIE, REFRESH_COOKIE, Visitor, chromium, give_cookie
from tests.integration.embedded import Embedded

pytestmark = [pytest.mark.integration, pytest.mark.asyncio(loop_scope="module")]

MARKUP = "<img src=x onerror=alert(1)>"
Visit = Callable[..., Awaitable[Visitor]]


@pytest_asyncio.fixture(loop_scope="module", scope="module")
async def browser() -> AsyncIterator[Browser]:
    """One browser for all tests; its absence is a failure, for what is not tested is not known."""
    try:
        async with chromium() as started:
            yield started
    except FileNotFoundError as error:
        pytest.fail(str(error))


@pytest_asyncio.fixture(loop_scope="module")
async def visit(browser: Browser, running: Embedded) -> AsyncIterator[Visit]:
    """A factory of people, each with cookies of his own; nothing may have run that should not."""
    visitors: list[Visitor] = []

    async def make(name: str | None = None, server: Embedded = running) -> Visitor:
        context = await browser.new_context(ignore_https_errors=True, base_url=server.url)
        visitor = Visitor(await context.new_page(), server)
        visitors.append(visitor)
        if name is not None:
            await visitor.log_in(name)
        return visitor

    yield make
    complaints = [text for visitor in visitors for text in visitor.complaints]
    for visitor in visitors:
        await visitor.context.close()
    assert complaints == []


@pytest.fixture
def mortal(tmp_path: Path) -> Iterator[list[Embedded]]:
    """A server that a test may kill; the last of the list is the living one."""
    servers = [Embedded(tmp_path).start()]
    yield servers
    servers[-1].stop()


def kill(server: Embedded) -> None:
    """End a server as a crash does."""
    server.process.kill()
    server.process.wait()
    server.http.close()
    server.probe.close()


def restart(servers: list[Embedded]) -> None:
    """Start a killed server again, with its ports and files."""
    dead = servers[-1]
    servers.append(Embedded(dead.directory, ports=dead.ports).start())


def session(visitor: Visitor) -> dict[str, Any]:
    """Return the claims that name a session of alice's."""
    claims = jwt.get_unverified_claims(visitor.server.token("alice"))
    return {"sub": claims["sub"], "sid": claims["sid"]}


async def test_who_has_not_logged_in_is_asked_to(visit: Visit) -> None:
    """And comes to the chat afterwards, with a cookie that no script sees."""
    alice = await visit()
    await alice.page.goto("/")
    await expect(alice.page).to_have_url(re.compile("/login$"))

    await alice.type_credentials("alice", alice.server.passwords["alice"])

    await expect(alice.page).to_have_url(f"{alice.server.url}/")
    await expect(alice.state).to_have_text("connected")
    await expect(alice.page.locator("#me")).to_have_text("alice")
    cookies = await alice.context.cookies()
    assert {(cookie["name"], cookie["path"], cookie["domain"]) for cookie in cookies} == {
        (COOKIE, "/", "localhost"),
        (REFRESH_COOKIE, "/session", "localhost"),
    }
    for cookie in cookies:
        assert cookie["httpOnly"]
        assert cookie["secure"]
        assert cookie["sameSite"] == "Strict"
    lives = {cookie["name"]: cookie["expires"] - time.time() for cookie in cookies}
    assert 590 < lives[COOKIE] <= 600
    assert lives[REFRESH_COOKIE] > 600_000
    assert await alice.page.evaluate("document.cookie") == ""


async def test_a_refused_log_in_says_one_thing(visit: Visit) -> None:
    """Whether name or password was wrong; the second try may be right."""
    somebody = await visit()
    await somebody.page.goto("/login")

    for name, password in (("alice", "wrong"), ("nobody", "wrong"), ("x" * 256, "wrong")):
        await somebody.type_credentials(name, password)
        await expect(somebody.error).to_have_text("Wrong user name or password.")
    await somebody.type_credentials("alice", somebody.server.passwords["alice"])

    await expect(somebody.state).to_have_text("connected")


@pytest.mark.parametrize(
    ("wanted", "reached"),
    [
        ("/?x=1", "/?x=1"),
        ("/docs", "/docs"),
        ("https://evil.example/", "/"),
        ("//evil.example/", "/"),
        ("/\\evil.example/", "/"),
        ("/\t/evil.example/", "/"),
        ("/.//evil.example/", "//evil.example/"),
        ("/x/..//evil.example/", "//evil.example/"),
        ("javascript:alert(1)", "/"),
        ("", "/"),
    ],
)
async def test_logging_in_leads_nowhere_else(visit: Visit, wanted: str, reached: str) -> None:
    """No open redirect: a path of this site, or the start."""
    somebody = await visit()
    address = await somebody.page.evaluate("wanted => encodeURIComponent(wanted)", wanted)
    await somebody.page.goto(f"/login?next={address}")

    await somebody.type_credentials("alice", somebody.server.passwords["alice"])

    await expect(somebody.page).to_have_url(f"{somebody.server.url}{reached}")


async def test_two_people_talk(visit: Visit) -> None:
    """Both ways; one's own messages and the other's are told apart, in order, with their time."""
    alice, bob = await visit("alice"), await visit("bob")
    await alice.join("two-people")
    await bob.join("two-people")

    await alice.say("first")
    await alice.say("second")
    await expect(bob.message("second")).to_be_visible()
    await bob.say("third")

    await expect(alice.message("third")).to_contain_text("bob")
    await expect(alice.message("first", "own")).to_contain_text("You")
    await expect(bob.message("first")).to_contain_text("alice")
    await expect(bob.log.locator(".text")).to_have_text(["first", "second", "third"])
    await expect(bob.message("first").locator("time")).to_have_text(re.compile(r"\d\d?:\d\d"))


async def test_a_message_is_written_on_several_lines(visit: Visit) -> None:
    """Shift+Enter begins a line, Enter sends, and blanks alone are no message."""
    alice = await visit("alice")

    await alice.say("   ")
    await alice.composer.fill("one")
    await alice.composer.press("Shift+Enter")
    await alice.page.keyboard.type("two")
    await alice.composer.press("Enter")

    assert await alice.message("two", "own").locator(".text").inner_text() == "one\ntwo"
    await expect(alice.composer).to_have_value("")


async def test_rooms_are_kept_apart_and_count_what_is_unread(visit: Visit) -> None:
    """Several open at once; leaving one ends it."""
    alice, bob = await visit("alice"), await visit("bob")
    await alice.join("tea")
    await bob.join("room:tea")
    await expect(bob.page.locator("#title")).to_have_text("tea")

    await alice.say("in the tea room")
    await expect(bob.message("in the tea room")).to_be_visible()
    await alice.entry("lobby").click()
    await expect(alice.page.locator("#title")).to_have_text("lobby")
    await bob.say("still tea?")
    await bob.say("hello?")

    await expect(alice.entry("tea").locator(".badge")).to_have_text("2")
    await expect(alice.page).to_have_title("(2) Drawbridge")
    await expect(alice.message("hello?")).to_have_count(0)
    await alice.entry("tea").click()
    await expect(alice.message("hello?")).to_be_visible()
    await expect(alice.entry("tea").locator(".badge")).to_be_hidden()
    await expect(alice.page).to_have_title("Drawbridge")

    await alice.page.get_by_role("button", name="Leave").click()
    await expect(alice.entry("tea")).to_have_count(0)
    await bob.say("without you")
    await expect(bob.message("without you", "own")).to_be_visible()
    await expect(alice.entry("lobby").locator(".badge")).to_be_hidden()


async def test_who_is_here_is_shown(visit: Visit) -> None:
    """By name, each once; who comes and who goes is told, but not every tab of the same person."""
    alice, bob = await visit("alice"), await visit("bob")
    here = alice.page.locator("#kind")
    await alice.join("presence")
    await expect(here).to_have_text("1 here: you")

    await bob.join("presence")
    await expect(here).to_have_text("2 here: bob, you")
    await expect(alice.message("bob has come.", "note")).to_have_count(1)
    again = await visit("bob")
    await again.join("presence")
    await expect(again.page.locator("#kind")).to_have_text("2 here: alice, you")
    await again.say("the same person")
    await expect(alice.message("the same person")).to_be_visible()
    await expect(here).to_have_text("2 here: bob, you")
    await bob.context.close()
    await again.page.get_by_role("button", name="Leave").click()

    await expect(alice.message("bob has gone.", "note")).to_have_count(1)
    await expect(alice.message("has come", "note")).to_have_count(1)
    await expect(here).to_have_text("1 here: you")
    await alice.entry("lobby").click()
    await expect(here).to_contain_text("you")


async def test_who_enters_sees_what_was_said_before(visit: Visit) -> None:
    """The last fifty messages, in order, before what is said from then on; when is not known."""
    alice, bob = await visit("alice"), await visit("bob")
    await alice.join("before")
    for number in range(55):
        await alice.say(f"number {number}.")
    await expect(alice.message("number 54.", "own")).to_be_visible()

    await bob.join("before")
    await expect(bob.message("number 54.")).to_be_visible()
    await bob.say("now")

    await expect(bob.log.locator(".text")).to_have_text(
        [*(f"number {number}." for number in range(5, 55)), "now"]
    )
    await expect(bob.log.locator("li.other .earlier")).to_have_count(1)
    await expect(bob.entry("before").locator(".badge")).to_be_hidden()
    await expect(bob.message("now", "own").locator("time")).to_have_count(1)


@pytest.mark.parametrize("name", ["staff:x", "nothing:here", "dm:#alice", "caf\u00e9", "a#b"])
async def test_a_room_that_cannot_be_joined_is_said_to_be(visit: Visit, name: str) -> None:
    """Forbidden, unknown, somebody's own, impossible."""
    alice = await visit("alice")

    await alice.join(name)

    await expect(alice.error).to_contain_text("cannot be joined")
    await expect(alice.page.locator("#title")).to_have_text("lobby")
    await expect(alice.page.locator("#rooms li")).to_have_count(1)


async def test_open_rooms_survive_a_reload(visit: Visit) -> None:
    """They are kept in the tab, for the same user only."""
    alice = await visit("alice")
    await alice.join("tea")
    await expect(alice.entry("tea")).to_have_attribute("aria-current", "true")

    await alice.page.reload()

    await expect(alice.state).to_have_text("connected")
    await expect(alice.page.locator("#title")).to_have_text("tea")
    await alice.context.clear_cookies()
    await alice.log_in("bob")
    await expect(alice.page.locator("#rooms li")).to_have_count(1)


async def test_private_messages_reach_one_person(visit: Visit) -> None:
    """By choosing a name; the answer comes back to the same conversation."""
    alice, bob = await visit("alice"), await visit("bob")
    await bob.say("here I am")
    await alice.write_to("bob")
    await expect(alice.page.locator("#kind")).to_contain_text("private")

    await alice.say("a secret")

    await expect(alice.message("a secret", "own")).to_be_visible()
    await expect(bob.entry("alice").locator(".badge")).to_have_text("1")
    await expect(bob.message("a secret")).to_have_count(0)
    await bob.entry("alice").click()
    await expect(bob.message("a secret")).to_be_visible()
    await bob.say("kept")
    await expect(alice.message("kept")).to_be_visible()


async def test_a_private_message_to_nobody_is_told_and_can_be_sent_again(visit: Visit) -> None:
    """Error 1404: the text stays."""
    alice, bob = await visit("alice"), await visit("bob")
    await bob.say("bye")
    await expect(alice.message("bye")).to_be_visible()
    await bob.context.close()
    await alice.write_to("bob")

    await alice.say("too late")

    await expect(alice.message("too late", "own")).to_contain_text("bob is not connected")
    back = await visit("bob")
    await alice.page.get_by_role("button", name="Send again").click()
    await expect(back.entry("alice").locator(".badge")).to_have_text("1")
    await expect(alice.message("not connected", "own")).to_have_count(0)
    await expect(alice.message("too late", "own")).to_have_count(1)


async def test_markup_is_text(visit: Visit, running: Embedded) -> None:
    """As message, as room, as the name of a user: shown as written, and run nowhere."""
    password = secrets.token_urlsafe(20)
    running.secrets.add(password)
    environment = running.environment | {
        "AUTH_DATABASE_URL": f"sqlite+aiosqlite:///{running.local}/auth.db",
        "AUTH_KEYS_DIR": f"{running.local}/keys",
    }
    await asyncio.to_thread(
        subprocess.run,
        [sys.executable, "-m", "auth_service", "users", "add", MARKUP, "--password-stdin"],
        env=environment,
        input=password.encode(),
        check=True,
        capture_output=True,
    )
    alice, mallory = await visit("alice"), await visit()
    await mallory.log_in(MARKUP, password)
    await expect(mallory.page.locator("#me")).to_have_text(MARKUP)

    await mallory.say(f"{MARKUP} <script>alert(1)</script> &lt;b&gt;")

    shown = alice.message("<script>")
    assert await shown.locator(".text").inner_text() == (
        f"{MARKUP} <script>alert(1)</script> &lt;b&gt;"
    )
    await expect(shown.get_by_role("button", name=MARKUP)).to_be_visible()
    await alice.write_to(MARKUP)
    await expect(alice.page.locator("#title")).to_have_text(MARKUP)
    await expect(alice.entry(MARKUP)).to_be_visible()
    await alice.join(MARKUP)
    await expect(alice.page.locator("main img, nav img, main script")).to_have_count(0)


async def test_what_other_programs_send_is_shown(visit: Visit) -> None:
    """A text alone, or any other JSON value."""
    alice = await visit("alice")
    await alice.join("programs")
    await expect(alice.page.locator("#kind")).to_have_text("1 here: you")
    async with alice.server.bare(alice.server.token("bob")) as other:
        for data in ('"just text"', '{"a":[1,null]}', '{"text":7}', "1234"):
            await other.send(f'{{"publish":{{"channel":"room:programs","data":{data}}}}}')
        await expect(alice.message("1234")).to_be_visible()

    await expect(alice.log.locator(".text")).to_have_text(
        ["just text", '{"a":[1,null]}', '{"text":7}', "1234"]
    )


async def test_even_injected_code_may_not_run(visit: Visit) -> None:
    """The policy is the second wall: no inline code, no foreign host, no markup from text."""
    for name, path in (("alice", "/"), (None, "/login")):
        alice = await visit(name)
        await alice.page.goto(path)
        blocked = await alice.page.evaluate(
            """async () => {
                const blocked = [];
                addEventListener("securitypolicyviolation",
                    (event) => blocked.push(event.effectiveDirective));
                try { document.body.innerHTML = "<img src=x onerror=alert(1)>"; } catch {}
                const script = document.createElement("script");
                try { script.text = "alert(1)"; document.body.append(script); } catch {}
                await fetch("https://evil.example/").catch(() => {});
                await new Promise((resolve) => setTimeout(resolve, 100));
                return blocked;
            }"""
        )

        assert "require-trusted-types-for" in blocked
        assert "connect-src" in blocked
        assert [text for text in alice.complaints if text.startswith("dialog")] == []
        alice.complaints.clear()


async def test_the_page_comes_back_with_its_server(visit: Visit, mortal: list[Embedded]) -> None:
    """Killed and started again: it says so, waits, subscribes anew, and tells of the gap."""
    alice, bob = await visit("alice", mortal[0]), await visit("bob", mortal[0])
    await alice.join("tea")
    await bob.join("tea")
    await alice.say("before")
    await expect(bob.message("before")).to_be_visible()

    kill(mortal[0])
    await expect(alice.state).to_have_text("reconnecting\u2026")
    await alice.say("in between")
    await expect(alice.error).to_contain_text("Not connected")
    await expect(alice.composer).to_have_value("in between")
    await asyncio.to_thread(restart, mortal)

    for visitor in (alice, bob):
        await expect(visitor.state).to_have_text("connected", timeout=40_000)
        await expect(visitor.message("Connected again", "note")).to_be_visible()
    await alice.composer.press("Enter")
    await expect(bob.message("in between")).to_be_visible()
    await bob.say("after")
    await expect(alice.message("after")).to_be_visible()
    await expect(alice.message("before", "own")).to_be_visible()


async def test_a_server_that_went_silent_is_noticed(visit: Visit, mortal: list[Embedded]) -> None:
    """No ping in time: the page does not trust a socket that only looks open."""
    alice = await visit(None, mortal[0])
    await alice.page.clock.install()
    await alice.log_in("alice")
    process = mortal[0].process
    os.kill(process.pid, signal.SIGSTOP)
    try:
        await alice.page.clock.fast_forward(36_000)

        await expect(alice.state).to_have_text("reconnecting\u2026")
    finally:
        os.kill(process.pid, signal.SIGCONT)
    for _ in range(10):
        await alice.page.clock.fast_forward(20_000)
        if await alice.state.text_content() == "connected":
            break
        await asyncio.sleep(0.2)
    await expect(alice.state).to_have_text("connected")


async def test_the_end_of_the_session_leads_to_the_log_in(visit: Visit) -> None:
    """The token expires under an open page (3005), and the browser has dropped its cookie."""
    alice = await visit()
    await give_cookie(alice, alice.server.sign(lifetime=3, **session(alice)), seconds=3)
    await alice.page.goto("/")
    await expect(alice.state).to_have_text("connected")

    await expect(alice.page).to_have_url(re.compile("/login$"), timeout=20_000)


async def test_a_lost_cookie_leads_to_the_log_in(visit: Visit, mortal: list[Embedded]) -> None:
    """The next handshake has none: error 109."""
    alice = await visit("alice", mortal[0])
    await alice.context.clear_cookies()

    kill(mortal[0])
    await asyncio.to_thread(restart, mortal)

    await expect(alice.page).to_have_url(re.compile("/login$"), timeout=40_000)


async def test_a_page_outlives_its_access_token(visit: Visit) -> None:
    """3005, and the cookie is gone as well: the page renews the session and comes back, twice.

    So do a second tab at the same time, a new page, and a page that is opened without any access
    token: nobody has to log in.
    """
    alice = await visit("alice")
    other = await alice.context.new_page()
    await other.goto("/")
    tabs = [alice.page, other]
    for _ in range(2):
        await give_cookie(alice, alice.server.sign(lifetime=3, **session(alice)), seconds=3)
        for tab in tabs:
            await tab.reload()
            await expect(tab.locator("#state")).to_have_text("connected")
        for tab in tabs:
            note = tab.locator("#log").get_by_text("Connected again")
            await expect(note).to_be_visible(timeout=20_000)
            await expect(tab.locator("#state")).to_have_text("connected")

    await alice.context.clear_cookies(name=COOKIE)
    await other.goto("/")

    await expect(other.locator("#state")).to_have_text("connected")
    await expect(other).to_have_url(f"{alice.server.url}/")


async def test_logging_out_ends_the_session_in_all_tabs(visit: Visit) -> None:
    """A stolen copy of the cookies is worth nothing afterwards."""
    alice = await visit("alice")
    stolen = await alice.context.cookies()

    await alice.page.locator("#log-out").click()
    await expect(alice.page).to_have_url(re.compile("/login$"))

    await alice.context.add_cookies(stolen)  # type: ignore[arg-type]
    assert not await alice.page.evaluate(
        "fetch('/session/refresh', {method: 'POST'}).then(answer => answer.ok)"
    )
    assert not await alice.page.evaluate("fetch('/users/me').then(answer => answer.ok)")


async def test_a_new_log_in_of_another_tab_is_taken_up(visit: Visit) -> None:
    """3005, yet the cookie is a fresh one meanwhile: the page goes on."""
    alice = await visit()
    claims = session(alice)
    await give_cookie(alice, alice.server.sign(lifetime=3, **claims), seconds=3)
    await alice.page.goto("/")
    await expect(alice.state).to_have_text("connected")
    await give_cookie(alice, alice.server.sign(**claims))

    await expect(alice.message("Connected again", "note")).to_be_visible(timeout=20_000)

    await expect(alice.state).to_have_text("connected")


async def test_a_forged_cookie_is_none(visit: Visit) -> None:
    """Neither the page nor the connection is had with it."""
    unsigned = f"eyJhbGciOiJub25lIn0.eyJzdWIiOiJib2IifQ.{'A' * 86}"
    for token in ("x", "a.b.c", unsigned):
        mallory = await visit()
        await give_cookie(mallory, token)

        await mallory.page.goto("/")

        await expect(mallory.page).to_have_url(re.compile("/login$"))


async def test_a_cookie_counts_from_our_own_pages_only(visit: Visit) -> None:
    """Cross-site WebSocket hijacking: 403, also for a browser that would send the cookie."""
    alice = await visit("alice")
    cookie = next(one for one in await alice.context.cookies() if one["name"] == COOKIE)
    headers = {"Cookie": f"{COOKIE}={cookie['value']}"}

    for origin in ("https://evil.example", "https://127.0.0.1:8443", "null"):
        with pytest.raises(InvalidStatus) as caught:
            async with connect(
                alice.server.websocket_url,
                ssl=alice.server.context,
                proxy=None,
                origin=origin,  # type: ignore[arg-type]
                additional_headers=headers,
            ):
                pass
        assert caught.value.response.status_code == 403


async def test_a_foreign_page_can_neither_log_in_nor_out(visit: Visit) -> None:
    """Forms and scripts of another site, in the browser of somebody who has logged in."""
    alice = await visit("alice")
    foreign = await alice.context.new_page()
    await alice.context.route(
        "https://evil.example/**",
        lambda route: route.fulfill(content_type="text/html", body="<!doctype html><form>"),
    )
    password = alice.server.passwords["bob"]
    body = f'{{"username":"bob","password":"{password}","x":"'

    with alice.server.logged() as lines:
        for kind in ("text/plain", "application/x-www-form-urlencoded", "multipart/form-data"):
            await foreign.goto("https://evil.example/")
            async with foreign.expect_response(f"{alice.server.url}/session") as response:
                await foreign.evaluate(
                    """([url, kind, name]) => {
                        const form = document.forms[0];
                        const field = document.createElement("input");
                        Object.assign(form, { action: url, method: "post", enctype: kind });
                        Object.assign(field, { name, value: '"}' });
                        form.append(field);
                        form.submit();
                    }""",
                    [f"{alice.server.url}/session", kind, body],
                )
            assert (await response.value).status == 403
            await foreign.wait_for_url("**/session")
        await foreign.goto("https://evil.example/")
        for method in ("POST", "DELETE"):
            failed = await foreign.evaluate(
                """([url, method]) => fetch(url, {
                    method, credentials: "include", body: method === "POST" ? "{}" : undefined,
                    headers: { "Content-Type": "application/json" },
                }).then(() => false, () => true)""",
                [f"{alice.server.url}/session", method],
            )
            assert failed
        opened = await foreign.evaluate(
            """(url) => new Promise((resolve) => {
                const socket = new WebSocket(url, "centrifuge-json");
                socket.onopen = () => resolve(true);
                socket.onerror = () => resolve(false);
            })""",
            alice.server.websocket_url,
        )
        assert not opened

    refused = [line for line in lines if line["event"] == "session_refused"]
    assert [line["error"] for line in refused] == ["access_denied"] * 3
    await alice.page.reload()
    await expect(alice.page.locator("#me")).to_have_text("alice")


async def test_logging_out_ends_it_everywhere(visit: Visit) -> None:
    """In all tabs; and the way back leads to the log-in."""
    alice = await visit("alice")
    other = Visitor(await alice.context.new_page(), alice.server)
    await other.page.goto("/")
    await expect(other.state).to_have_text("connected")

    await alice.page.get_by_role("button", name="Log out").click()

    await expect(alice.page).to_have_url(re.compile("/login$"))
    await expect(other.page).to_have_url(re.compile("/login$"))
    assert await alice.context.cookies() == []
    await alice.page.goto("/")
    await expect(alice.page).to_have_url(re.compile("/login$"))


async def test_a_log_out_that_did_not_happen_is_not_pretended(
    visit: Visit, mortal: list[Embedded]
) -> None:
    """The cookie would still be there."""
    alice = await visit("alice", mortal[0])
    kill(mortal[0])

    await alice.page.get_by_role("button", name="Log out").click()

    await expect(alice.error).to_contain_text("Logging out did not work")
    await asyncio.to_thread(restart, mortal)


async def test_everything_is_done_by_keyboard(visit: Visit) -> None:
    """Log in, talk, answer privately, change rooms, log out; the focus is always somewhere."""
    bob = await visit("bob")
    alice = await visit()
    await alice.page.goto("/login")
    press, write = alice.page.keyboard.press, alice.page.keyboard.type

    await write("alice")
    await press("Tab")
    await write(alice.server.passwords["alice"])
    await press("Enter")
    await expect(alice.state).to_have_text("connected")
    await expect(alice.composer).to_be_focused()
    await write("by keyboard")
    await press("Enter")
    await expect(bob.message("by keyboard")).to_be_visible()
    await bob.say("answered")
    await expect(alice.message("answered")).to_be_visible()

    await press("Shift+Tab")
    await expect(alice.log.get_by_role("button", name="bob").last).to_be_focused()
    await press("Enter")
    await expect(alice.page.locator("#title")).to_have_text("bob")
    await expect(alice.composer).to_be_focused()
    await write("psst")
    await press("Enter")
    await expect(bob.entry("alice")).to_be_visible()

    await alice.entry("lobby").focus()
    await bob.entry("lobby").click()
    await bob.say("and again")
    await expect(alice.entry("lobby").locator(".badge")).to_have_text("1")
    await expect(alice.entry("lobby")).to_be_focused()
    await press("Enter")
    await expect(alice.message("and again")).to_be_visible()

    for _ in range(20):
        await press("Shift+Tab")
        if await alice.page.evaluate("document.activeElement.id") == "log-out":
            break
    await press("Enter")
    await expect(alice.page).to_have_url(re.compile("/login$"))


async def test_the_arrows_go_from_name_to_name(visit: Visit) -> None:
    """One stop of the Tab key for all of them."""
    alice, bob = await visit("alice"), await visit("bob")
    await alice.join("arrows")
    await bob.join("arrows")
    await expect(bob.page.locator("#kind")).to_have_text("2 here: alice, you")
    await bob.say("one")
    await expect(alice.message("one")).to_be_visible()
    await alice.say("own")
    await expect(bob.message("own")).to_be_visible()
    await bob.say("two")
    await expect(alice.message("two")).to_be_visible()
    names = alice.log.get_by_role("button", name="bob")

    await alice.composer.press("Shift+Tab")
    await expect(names.nth(1)).to_be_focused()
    await alice.page.keyboard.press("ArrowUp")
    await expect(names.nth(0)).to_be_focused()
    await alice.page.keyboard.press("ArrowUp")
    await expect(names.nth(0)).to_be_focused()
    await alice.page.keyboard.press("ArrowDown")
    await expect(names.nth(1)).to_be_focused()


async def test_a_phone_has_room_for_everything(visit: Visit) -> None:
    """Nothing is wider than the screen, and what is used is in sight."""
    alice = await visit()
    await alice.page.set_viewport_size({"width": 360, "height": 640})
    await alice.log_in("alice")
    for number in range(5):
        await alice.join(f"a-rather-long-name-of-a-room-{number}")
    await alice.say("x" * 300)
    await expect(alice.message("xxx", "own")).to_be_in_viewport()

    for place in (alice.composer, alice.entry("a-rather-long-name-of-a-room-4"), alice.state):
        await expect(place).to_be_in_viewport()
    overflow = "document.documentElement.scrollWidth - document.documentElement.clientWidth"
    assert await alice.page.evaluate(overflow) == 0
