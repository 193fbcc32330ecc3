"""A rotation of the signing key, seen by a gateway: nobody's token is refused at any moment."""

from __future__ import annotations

from pathlib import Path

import httpx2

from auth_service.app import Service, create_app, open_service
from auth_service.passwords import HashParameters
from auth_service.rotation import LEAD_SECONDS, RELOAD_SECONDS, RETENTION_SECONDS
from auth_service.settings import Settings
from ws_gateway.verifier import Issuer, Verifier

ISSUER = "https://localhost:8443"
PASSWORD = "correct horse battery staple"
MAX_AGE = 300


class Proxy:
    """An HTTP cache between gateway and token service that keeps a set as long as it may.

    Args:
        front: Any of the token service's processes.
    """

    def __init__(self, front: httpx2.AsyncClient) -> None:
        self._front = front
        self._kept: tuple[int, bytes] | None = None
        self.now = 1_900_000_000

    async def fetch(self, _url: str) -> bytes:
        """Return the set, at most five minutes old."""
        if self._kept is None or self.now >= self._kept[0] + MAX_AGE:
            answer = await self._front.get("/.well-known/jwks.json")
            assert answer.headers["cache-control"] == f"public, max-age={MAX_AGE}"
            self._kept = (self.now, answer.content)
        return self._kept[1]


async def _log_in(front: httpx2.AsyncClient) -> str:
    fields = {"grant_type": "password", "username": "alice", "password": PASSWORD}
    answer = await front.post("/token", data=fields)
    assert answer.status_code == 200, answer.text
    return str(answer.json()["access_token"])


def _client(service: Service) -> httpx2.AsyncClient:
    transport = httpx2.ASGITransport(create_app(service))
    return httpx2.AsyncClient(transport=transport, base_url="https://localhost")


async def test_no_token_is_refused_through_a_whole_rotation(tmp_path: Path) -> None:
    """Two token services, of which one learns late; a gateway behind a cache, fetching at worst.

    The time goes in steps; at each somebody logs in, and every token that has not expired is shown
    to the gateway.
    """
    settings = Settings.from_environment(
        {
            "AUTH_DATABASE_URL": f"sqlite+aiosqlite:///{tmp_path}/auth.db",
            "AUTH_KEYS_DIR": f"{tmp_path}/keys",
            "AUTH_DEFAULT_CLIENT": "chat",
            "AUTH_ACCESS_TOKEN_SECONDS": "3600",
        }
    )
    cheap = HashParameters(memory_kib=8, passes=1, lanes=1)
    begin = now = 1_900_000_000

    def clock() -> float:
        return now

    async with (
        open_service(settings, clock=clock, hash_parameters=cheap) as one,
        open_service(settings, clock=clock, hash_parameters=cheap) as other,
        _client(one) as first,
        _client(other) as second,
    ):
        await one.accounts.add("alice", PASSWORD)
        proxy = Proxy(second)
        verifier = Verifier(
            [
                Issuer(
                    issuer=ISSUER,
                    jwks_url=f"{ISSUER}/.well-known/jwks.json",
                    audience="drawbridge",
                )
            ],
            fetch=proxy.fetch,
            now=clock,
            monotonic=clock,
        )
        # The copy is as young as it can be without the new key.
        living = [(now, await _log_in(first))]
        await verifier.verify(living[0][1])
        made = await one.rotation.rotate()
        kids: list[str] = []
        end = begin + LEAD_SECONDS + RETENTION_SECONDS + 2 * MAX_AGE
        while now < end:
            now += 7 if now < begin + LEAD_SECONDS + 60 else 60
            proxy.now = now
            if now >= begin + RELOAD_SECONDS:
                await other.rotation.reload()
            living = [(born, token) for born, token in living if now < born + 3600]
            living.append((now, await _log_in(first if len(living) % 2 else second)))
            for _, token in living:
                await verifier.verify(token)
            kids.append(one.keys.at(now).signing.kid)

        assert kids[0] != kids[-1] == made.kid
        assert kids == sorted(kids, key=lambda kid: kid == made.kid)
        assert set(one.keys.at(now).by_kid) == set(other.keys.at(now).by_kid) == {made.kid}
        await verifier.aclose()
