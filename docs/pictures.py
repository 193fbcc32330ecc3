"""Writes ``docs/images/*.png``: the pages in Debian's Chromium, before a real embedded server."""

from __future__ import annotations

import asyncio
import datetime as dt
import sys
import tempfile
from pathlib import Path

from playwright.async_api import Browser, ViewportSize, expect

from tests.integration.browser import Visitor, chromium
from tests.integration.embedded import Embedded

TARGET = Path(__file__).with_name("images")
# The same pictures tomorrow, unless the pages change.
NOON = dt.datetime(2026, 5, 4, 12, 4, tzinfo=dt.UTC)
DESK: ViewportSize = {"width": 1080, "height": 640}
PHONE: ViewportSize = {"width": 390, "height": 700}


async def arrive(browser: Browser, server: Embedded, **options: bool) -> Visitor:
    """Open a browser of one's own; ``dark`` in the evening, ``phone`` on the way."""
    context = await browser.new_context(
        ignore_https_errors=True,
        base_url=server.url,
        locale="en-GB",
        timezone_id="UTC",
        color_scheme="dark" if options.get("dark") else "light",
        viewport=PHONE if options.get("phone") else DESK,
    )
    page = await context.new_page()
    await page.clock.set_fixed_time(NOON)
    return Visitor(page, server)


async def take(visitor: Visitor, name: str) -> None:
    """Take one picture."""
    await visitor.page.screenshot(path=TARGET / f"{name}.png", animations="disabled", caret="hide")


async def logging_in(visitor: Visitor) -> None:
    """Show the log-in, and its refusal."""
    await visitor.page.goto("/login")
    await take(visitor, "login")
    await visitor.type_credentials("alice", "not her password")
    await expect(visitor.error).not_to_be_empty()
    await take(visitor, "refused")


async def talking(alice: Visitor, bob: Visitor) -> None:
    """Show a room and a private conversation."""
    for visitor, name in ((alice, "alice"), (bob, "bob")):
        await visitor.log_in(name)
        await visitor.join("harbour")
        await expect(visitor.page.locator("#title")).to_have_text("harbour")
    for who, other, text in (
        (bob, alice, "Good morning! Is the bridge up yet?"),
        (alice, bob, "Not before a quarter past. The pilot boat comes first."),
        (alice, bob, "After that there is time for everybody."),
        (bob, alice, "Then I put the kettle on."),
        (alice, bob, "Do. I am on my way."),
    ):
        await who.say(text)
        await expect(other.message(text)).to_be_visible()
    await bob.entry("lobby").click()
    await bob.say("Tea at the harbour, whoever wants some.")
    await expect(alice.entry("lobby").locator(".badge")).to_have_text("1")
    await alice.page.set_viewport_size(PHONE)
    await take(alice, "phone")
    await alice.page.set_viewport_size(DESK)
    await bob.entry("harbour").click()
    await bob.write_to("alice")
    await bob.say("Shall I keep a biscuit for you?")
    await expect(alice.entry("bob").locator(".badge")).to_have_text("1")
    await take(alice, "room")
    await alice.entry("bob").click()
    await alice.say("Two, please.")
    await expect(alice.message("Two, please.", "own")).to_be_visible()
    await take(alice, "private")


async def losing_the_server(visitor: Visitor) -> None:
    """Show what happens without it."""
    await visitor.log_in("alice")
    await visitor.say("Hold the line, the water is rising.")
    await expect(visitor.message("Hold the line", "own")).to_be_visible()
    visitor.server.process.kill()
    visitor.server.process.wait()
    await expect(visitor.state).to_have_attribute("data-state", "reconnecting")
    await visitor.say("Still there?")
    await expect(visitor.error).not_to_be_empty()
    await take(visitor, "reconnecting")


async def main() -> int:
    """Write all pictures."""
    TARGET.mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory() as directory:
        server = Embedded(Path(directory)).start()
        try:
            async with chromium() as browser:
                await logging_in(await arrive(browser, server))
                await talking(await arrive(browser, server), await arrive(browser, server))
                await losing_the_server(await arrive(browser, server, dark=True))
        finally:
            server.process.kill()
            server.process.wait()
    return 0


if __name__ == "__main__":
    sys.exit(asyncio.run(main()))
