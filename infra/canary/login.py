"""How the canary gets its tokens: at the front, with a password, as anybody's program does."""

from __future__ import annotations

import asyncio
import logging
import math
import ssl
import time
from collections.abc import Callable
from http import HTTPStatus
from typing import Any

import httpx2

from infra.canary.metrics import Metrics, Stage
from infra.canary.settings import SUBJECT, Settings

_log = logging.getLogger(__name__)
# A wrong password costs the service a hash each time, and locks the account for longer.
_REFUSED_PAUSE_SECONDS = 60.0
_CLIENT_ERROR = 4


class LoginError(Exception):
    """There is no token; the text says why, and nothing of what was sent."""


class Login:
    """Logs one user in, again and again.

    Args:
        settings: Where, and as whom.
        metrics: Each request for a token is counted.
        tls: Whom to believe.
        clock: Seconds that never go back.
    """

    def __init__(
        self,
        settings: Settings,
        metrics: Metrics,
        tls: ssl.SSLContext,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._settings = settings
        self._metrics = metrics
        self._clock = clock
        self._not_before = -math.inf
        # Neither a proxy nor a password of the surroundings: what is asked is the front.
        self._http = httpx2.AsyncClient(
            base_url=settings.url,
            verify=tls,
            trust_env=False,
            timeout=None,
        )

    async def token(self) -> str:
        """Return a new access token.

        Raises:
            LoginError: It was refused, now or less than a minute ago, or nobody answered.
        """
        if self._clock() < self._not_before:
            raise LoginError("refused less than a minute ago")
        form = {
            "grant_type": "password",
            "username": self._settings.user,
            "password": self._settings.password,
        }
        if self._settings.client_id:
            form["client_id"] = self._settings.client_id
        try:
            token = await self._text("POST", "/token", "access_token", data=form)
        except LoginError as error:
            self._metrics.count(Stage.LOGIN, good=False)
            _log.warning("login failed", extra={"reason": str(error)})
            raise
        self._metrics.count(Stage.LOGIN, good=True)
        return token

    async def channel(self, token: str) -> str:
        """Return the channel's name, with the id of the user that this token is of.

        Raises:
            LoginError: Nobody says who that is.
        """
        channel = self._settings.channel
        if SUBJECT not in channel:
            return channel
        bearer = {"Authorization": f"Bearer {token}"}
        return channel.replace(SUBJECT, await self._text("GET", "/users/me", "sub", headers=bearer))

    async def close(self) -> None:
        """Give up the connections."""
        await self._http.aclose()

    async def _text(self, method: str, path: str, member: str, **options: Any) -> str:  # noqa: ANN401 - httpx2's own
        try:
            async with asyncio.timeout(self._settings.deadline_seconds):
                answer = await self._http.request(method, path, **options)
        except (httpx2.HTTPError, TimeoutError) as error:
            # Its own text may quote what was sent.
            raise LoginError(f"{path}: {type(error).__name__}") from None
        if answer.status_code // 100 == _CLIENT_ERROR:
            self._not_before = self._clock() + _REFUSED_PAUSE_SECONDS
        if answer.status_code != HTTPStatus.OK:
            raise LoginError(f"{path}: {answer.status_code}")
        try:
            found = answer.json()[member]
        except (ValueError, KeyError, TypeError):
            raise LoginError(f"{path}: an answer without {member}") from None
        return str(found)
