"""The tokens of a user: logged in once, refreshed as they age, through the front."""

from __future__ import annotations

import asyncio
import time

import httpx2

_AGAIN_SECONDS = 0.3
_OLD_SECONDS = 30.0
PASSWORD = "a long enough password"
CLIENT = "app"


class Session:
    """What one user holds; all its clients share it.

    Args:
        http: A client of the front.
        user: Who.
    """

    def __init__(self, http: httpx2.AsyncClient, user: str) -> None:
        self.user = user
        self._http = http
        self._lock = asyncio.Lock()
        self._access = ""
        self._refresh = ""
        self._born = -_OLD_SECONDS

    async def token(self, fresh: bool = False) -> str:
        """Return a token that is young enough; insists until there is one."""
        asked = time.monotonic()
        async with self._lock:
            while True:
                age = time.monotonic() - self._born
                if self._access and age < _OLD_SECONDS and not (fresh and self._born < asked):
                    return self._access
                try:
                    await self._renew()
                except httpx2.HTTPError:
                    await asyncio.sleep(_AGAIN_SECONDS)

    async def _renew(self) -> None:
        born = time.monotonic()
        if self._refresh:
            form = {"grant_type": "refresh_token", "refresh_token": self._refresh}
        else:
            form = {"grant_type": "password", "username": self.user, "password": PASSWORD}
        answer = await self._http.post("/token", data={**form, "client_id": CLIENT})
        if answer.status_code == httpx2.codes.OK:
            body = answer.json()
            self._access, self._refresh = body["access_token"], body["refresh_token"]
            self._born = born
            return
        if answer.status_code == httpx2.codes.BAD_REQUEST:
            self._refresh = ""  # an answer got lost, and with it the session
        await asyncio.sleep(_AGAIN_SECONDS)
