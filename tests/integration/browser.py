"""Debian's Chromium, and the page as somebody uses it."""

from __future__ import annotations

import contextlib
import shutil
import time
from collections.abc import AsyncIterator, Mapping
from typing import Generic, Protocol

from playwright.async_api import Browser, BrowserContext, Locator, Page, async_playwright, expect
from typing_extensions import TypeVar

from tests.integration.embedded import Embedded

COOKIE = "__Host-drawbridge"
REFRESH_COOKIE = "__Secure-drawbridge-refresh"
_ARGUMENTS = ["--no-sandbox", "--disable-gpu", "--disable-background-networking"]
# A machine that is busy with other tests is slow, and no test is about speed.
expect.set_options(timeout=15_000)
_MISSING = "Chromium is missing. On Debian and Ubuntu: apt-get install chromium"


@contextlib.asynccontextmanager
async def chromium() -> AsyncIterator[Browser]:
    """Start the browser, headless.

    Raises:
        FileNotFoundError: There is none; the text says how to get it.
    """
    path = shutil.which("chromium") or shutil.which("chromium-browser")
    if path is None:
        raise FileNotFoundError(_MISSING)
    async with async_playwright() as playwright:
        browser = await playwright.chromium.launch(executable_path=path, args=_ARGUMENTS)
        try:
            yield browser
        finally:
            await browser.close()


class Site(Protocol):
    """A front, as far as a person sees it."""

    url: str

    @property
    def passwords(self) -> Mapping[str, str]:
        """The demo users' passwords."""


S_co = TypeVar("S_co", bound=Site, default=Embedded, covariant=True)


class Visitor(Generic[S_co]):
    """One person with a browser of his own.

    Args:
        page: In a context of its own, so that cookies are.
        server: Where he goes.
    """

    def __init__(self, page: Page, server: S_co) -> None:
        self.page = page
        self.server = server
        self.complaints: list[str] = []
        page.on("pageerror", lambda error: self.complaints.append(str(error)))
        page.on("dialog", lambda dialog: self.complaints.append(f"dialog: {dialog.message}"))
        page.on(
            "console",
            lambda message: (
                self.complaints.append(message.text)
                if "Content Security Policy" in message.text
                else None
            ),
        )

    @property
    def context(self) -> BrowserContext:
        """Where his cookies are."""
        return self.page.context

    # What he sees

    @property
    def state(self) -> Locator:
        """The state of the connection."""
        return self.page.locator("#state")

    @property
    def log(self) -> Locator:
        """The conversation shown."""
        return self.page.locator("#log")

    @property
    def error(self) -> Locator:
        """What went wrong."""
        return self.page.locator("#error")

    @property
    def composer(self) -> Locator:
        """Where the next message is written."""
        return self.page.get_by_label("Message", exact=True)

    def message(self, text: str, kind: str = "other") -> Locator:
        """Return a message of somebody's (``other``), one's ``own``, or a ``note``."""
        return self.log.locator(f"li.{kind}").filter(has_text=text)

    def entry(self, name: str) -> Locator:
        """Return the entry of a room or a person in the lists."""
        return self.page.locator("nav li button").filter(
            has=self.page.locator(".name").get_by_text(name, exact=True)
        )

    # What he does

    async def type_credentials(self, name: str, password: str) -> None:
        """Fill in the form and send it."""
        await self.page.get_by_label("User name").fill(name)
        await self.page.get_by_label("Password").fill(password)
        await self.page.get_by_role("button", name="Log in").click()

    async def log_in(self, name: str, password: str | None = None) -> None:
        """Come in by the front page, until the connection stands."""
        await self.page.goto(self.server.url)
        await self.type_credentials(name, password or self.server.passwords[name])
        await expect(self.state).to_have_text("connected")

    async def say(self, text: str) -> None:
        """Write into the conversation shown."""
        await self.composer.fill(text)
        await self.composer.press("Enter")

    async def join(self, room: str) -> None:
        """Join a room by its name."""
        field = self.page.get_by_label("Name of a room to join")
        await field.fill(room)
        await field.press("Enter")

    async def write_to(self, name: str) -> None:
        """Choose a name in the conversation shown."""
        await self.log.get_by_role("button", name=name, exact=True).last.click()


async def give_cookie(visitor: Visitor[Site], token: str, *, seconds: float = 600) -> None:
    """Put a cookie where logging in puts one."""
    await visitor.context.add_cookies(
        [
            {
                "name": COOKIE,
                "value": token,
                "url": visitor.server.url,
                "secure": True,
                "httpOnly": True,
                "sameSite": "Strict",
                "expires": time.time() + seconds,
            }
        ]
    )
