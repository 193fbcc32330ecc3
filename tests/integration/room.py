"""Who talks in a room, what he says until it is acknowledged, and what he hears."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import Collection, Mapping
from typing import Any, Protocol

from playwright.async_api import Page

from tests.integration.sdk_javascript import BUNDLE, BUNDLE_PROTOBUF, FOLDER

PARTICIPANT = FOLDER / "participant.mjs"
TEMPORARY = 100
RETRY_SECONDS = 0.05


class Participant(Protocol):
    """Somebody in the room, however he speaks."""

    async def attempt(self, sentence: str) -> int:
        """Publish once; returns the error's code, or 0 if it was acknowledged."""

    async def heard(self) -> list[str]:
        """Return everything that was published, in the order of its arrival."""

    async def ends(self) -> list[int]:
        """Return the codes with which a connection or a subscription was lost."""


class InChromium:
    """The JavaScript SDK on a page."""

    def __init__(self, page: Page, name: str) -> None:
        self._page = page
        self._name = name

    async def ask(self, question: str, *more: object) -> Any:  # noqa: ANN401 - whatever it asks
        """Evaluate statements about the ``participant``, with further values in ``more``."""
        function = f"([name, ...more]) => {{ const participant = participants[name]; {question} }}"
        return await self._page.evaluate(function, [self._name, *more])

    async def attempt(self, sentence: str) -> int:
        """Publish once."""
        return int(await self.ask("return participant.attempt(more[0])", sentence))

    async def heard(self) -> list[str]:
        """Return what arrived."""
        return list(await self.ask("return participant.heard"))

    async def ends(self) -> list[int]:
        """Return the codes."""
        return list(await self.ask("return participant.ends"))


async def enter(page: Page, name: str, place: Mapping[str, object]) -> InChromium:
    """Enter a room on a page that is open, under a name of that page's own.

    Args:
        page: Of an origin that may connect.
        name: The participant's there.
        place: What the participant is told: ``url``, ``token``, ``channel`` and ``protobuf``.
    """
    protobuf = bool(place.get("protobuf"))
    sdk = "CentrifugeProtobuf" if protobuf else "CentrifugeJSON"
    if not await page.evaluate("(sdk) => sdk in globalThis", sdk):
        # Both bundles give the same name to what they have.
        await page.add_script_tag(path=BUNDLE_PROTOBUF if protobuf else BUNDLE)
        await page.evaluate("(sdk) => (globalThis[sdk] = Centrifuge)", sdk)
        await page.add_script_tag(path=PARTICIPANT, type="module")
        await page.wait_for_function("() => globalThis.participate !== undefined")
    await page.evaluate(
        "([name, sdk, place]) => participate(name, globalThis[sdk], place)", [name, sdk, place]
    )
    return InChromium(page, name)


class Speaker:
    """Says each sentence until it is acknowledged, each time in other words.

    One that was refused may have been taken all the same; so whoever counts must know the attempts
    apart.
    """

    def __init__(
        self, name: str, participant: Participant, refusals: Collection[int] = (TEMPORARY,)
    ) -> None:
        self._words = (f"{name} {number}" for number in itertools.count())
        self._participant = participant
        self._refusals = refusals
        self.acknowledged: list[str] = []
        self.refused = asyncio.Event()

    async def say(self, count: int) -> None:
        """Have so many sentences acknowledged."""
        for _ in range(count):
            while code := await self._participant.attempt(sentence := next(self._words)):
                assert code in self._refusals, code
                self.refused.set()
                await asyncio.sleep(RETRY_SECONDS)
            self.acknowledged.append(sentence)

    async def talk(self, enough: asyncio.Event) -> None:
        """Say one sentence after the other."""
        while not enough.is_set():
            await self.say(1)


async def hears(participant: Participant, last: str) -> list[str]:
    """Return what somebody has heard, up to a sentence that is waited for."""
    async with asyncio.timeout(20):
        while last not in (heard := await participant.heard()):  # noqa: ASYNC110 - other processes
            await asyncio.sleep(0.02)
    return heard[: heard.index(last) + 1]
