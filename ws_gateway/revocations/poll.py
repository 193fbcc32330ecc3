"""The way to a revocation log that its issuer answers questions about, over HTTP."""

from __future__ import annotations

import asyncio
import ssl
from typing import Annotated

import httpx2
import msgspec
from msgspec import Meta, Struct

from ws_gateway.exceptions import LogUnreadable
from ws_gateway.revocations.deny_set import parse
from ws_gateway.revocations.log import RevocationLog

MAX_ANSWER_BYTES = 4 * 2**20

_CONNECT_SECONDS = 2.0
_ANSWER_SECONDS = 3.0  # beside what it was asked to wait
_MAX_WAIT_SECONDS = 5
_PAUSE_SECONDS = 0.05
_OK = 200


class _Answer(Struct):
    log: Annotated[str, Meta(min_length=1, max_length=255)]
    top: Annotated[int, Meta(ge=0)]
    entries: list[dict[str, object]]


_pause = asyncio.sleep
_decode = msgspec.json.Decoder(_Answer).decode


class PollReader:
    """Asks for what came after the last known entry; the answer waits until there is something.

    Args:
        url: To ask.
        key: Shown to the issuer.
        stale_seconds: The log's; an answer is wanted clearly more often.
    """

    def __init__(self, url: str, *, key: str, stale_seconds: float) -> None:
        self._url = url
        self._headers = {"Authorization": f"Bearer {key}", "Accept": "application/json"}
        self._wait = max(1, min(_MAX_WAIT_SECONDS, int(stale_seconds) - 2))
        self._context: ssl.SSLContext | None = None
        self._log_id: str | None = None
        self._since = 0
        self._caught_up = False

    async def follow(self, log: RevocationLog) -> None:
        """See Reader."""
        if self._context is None:
            # It reads the certificate authorities: 20 ms and more, which no socket should wait for.
            self._context = await asyncio.to_thread(httpx2.create_ssl_context)
        direct = {f"all://{host}": None for host in ("localhost", "127.0.0.1", "[::1]")}
        client = httpx2.AsyncClient(
            verify=self._context,
            mounts=direct,
            headers=self._headers,
            follow_redirects=False,
            timeout=httpx2.Timeout(self._wait + _ANSWER_SECONDS, connect=_CONNECT_SECONDS),
        )
        # After an outage, what is there counts at once.
        self._caught_up = False
        try:
            async with client:
                while True:
                    answer = await self._ask(client)
                    self._take(answer, log)
                    if not answer.entries:
                        # An issuer that does not wait must not be asked all the time.
                        await _pause(_PAUSE_SECONDS)
        except (httpx2.HTTPError, OSError, TimeoutError) as error:
            # Not its text, which may have the address.
            raise LogUnreadable(type(error).__name__) from error
        except ValueError as error:  # msgspec's errors are of this kind
            raise LogUnreadable("the answer is not a piece of a log") from error

    async def _ask(self, client: httpx2.AsyncClient) -> _Answer:
        wait = self._wait if self._caught_up else 0
        question = {"since": str(self._since), "wait": str(wait)}
        if self._log_id is not None:
            question["log"] = self._log_id
        # A deadline of our own for the whole: an answer that trickles is none.
        async with (
            asyncio.timeout(wait + _ANSWER_SECONDS),
            client.stream("GET", self._url, params=question) as response,
        ):
            if response.status_code != _OK:
                raise LogUnreadable(f"status {response.status_code}")
            document = bytearray()
            async for chunk in response.aiter_bytes():
                document += chunk
                if len(document) > MAX_ANSWER_BYTES:
                    raise LogUnreadable("the answer is too large")
            return _decode(document)

    def _take(self, answer: _Answer, log: RevocationLog) -> None:
        log.add(map(parse, answer.entries))
        if self._since and (answer.log != self._log_id or answer.top < self._since):
            log.lost("the log was replaced or has lost its end", complete=False)
            self._log_id, self._since, self._caught_up = answer.log, 0, False
            return
        self._log_id = answer.log
        if answer.entries:
            numbers = [entry.get("seq") for entry in answer.entries]
            last = max((n for n in numbers if type(n) is int), default=0)
            if last <= self._since:
                raise LogUnreadable("the entries have no numbers")
            self._since = last
        # Entries between the last that came and the top may have expired, or are yet to be asked
        # for: only an answer without any tells.
        self._caught_up = not answer.entries or self._since >= answer.top
        if self._caught_up:
            log.read(log.now())
