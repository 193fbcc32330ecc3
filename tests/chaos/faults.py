"""How each kind of fault is injected, and taken back."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import os
import random
import shutil
import signal
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any, Protocol

import httpx2
import redis.asyncio
from jose import jwt
from redis.exceptions import RedisError

from auth_service import rotation
from tests.chaos.history import Begun, Down, Event, Fault, Revoked, SlowCut
from tests.chaos.proxy import Weather
from tests.chaos.redis_world import Sentinels
from tests.chaos.schedule import OF_GATEWAYS, Kind, Planned
from tests.chaos.tokens import CLIENT, PASSWORD
from tests.chaos.world import CLOCK_SECONDS, Program, World
from ws_gateway.revocations.stream import KEY as REVOCATIONS

_POLL_SECONDS = 0.05
_DOWN_SECONDS = 0.5
_HEAL_SECONDS = 60
_FLOOD_SECONDS = 5.0
_SLOW_CODE = 'gateway_disconnects_total{code="3008"}'
_MOST_CUT_BYTES = 6_000
_BESIDE_SECONDS = 10
# As long as everybody here looks, and a token lives.
rotation.LEAD_SECONDS = 3


class Cast(Protocol):
    """The clients, as far as faults need them."""

    async def order(self, **order: object) -> None:
        """Tell one worker."""

    async def said(self, line: str, seconds: float) -> bool:
        """Wait until a worker has said this."""


class Faults:
    """Injects faults into a world, several at a time where they do not concern the same part.

    Args:
        world: Which.
        cast: Its clients.
        note: Where events go.
        seed: Of what is drawn here.
    """

    def __init__(
        self, world: World, cast: Cast, note: Callable[[Event], None], *, seed: int
    ) -> None:
        self._world = world
        self._cast = cast
        self._note = note
        self._chance = random.Random(seed)  # noqa: S311 - to be repeatable
        self._redis = asyncio.Lock()
        self._auth = asyncio.Lock()
        self._gateways = [asyncio.Lock() for _ in world.gateways]
        # One gateway is left at least: the clients' own patience is not the subject.
        self._down = asyncio.Semaphore(len(world.gateways) - 1)
        self._numbers = itertools.count(1)
        self._kinds: dict[Kind, Callable[[Planned], Awaitable[str]]] = {
            Kind.GATEWAY_KILL: self._kill,
            Kind.GATEWAY_TERM: self._terminate,
            Kind.GATEWAY_PAUSE: self._pause,
            Kind.REDIS_RESTART: self._restart_redis,
            Kind.REDIS_EMPTY: self._empty_redis,
            Kind.REDIS_TAIL: self._cut_tail,
            Kind.REDIS_FAILOVER: self._fail_over,
            Kind.REDIS_HANDOVER: self._hand_over,
            Kind.REDIS_PAUSE: self._pause_redis,
            Kind.REDIS_CUT: self._links(Weather.CUT),
            Kind.REDIS_SLOW: self._links(Weather.SLOW),
            Kind.REDIS_SILENT: self._links(Weather.SILENT),
            Kind.CLIENT_CUT: self._cut_clients,
            Kind.CLIENT_SLOW: self._slow_clients,
            Kind.NGINX_RELOAD: self._reload,
            Kind.SLOW_READER: self._slow_reader,
            Kind.REVOKE_TOKEN: self._revoke_token,
            Kind.REVOKE_SESSION: self._end_session,
            Kind.KEY_ROTATION: self._rotate,
            Kind.AUTH_RESTART: self._restart_auth,
            Kind.AUTH_CLOCK: self._set_clock,
            Kind.ROLLING_RESTART: self._roll,
            Kind.VERSION_BESIDE: self._go_back,
        }
        self._back: dict[Planned, float] = {}
        self._ended: dict[Planned, float] = {}

    async def inject(self, planned: Planned) -> None:
        """Do one; note its beginning, and all of it when everything is well again.

        Raises:
            RuntimeError: It could not be injected, taken back or healed; the text names it.
        """
        try:
            self._note(await self._inject(planned))
        except Exception as failed:
            raise RuntimeError(f"{planned}: {failed!r}") from failed

    async def _inject(self, planned: Planned) -> Fault:
        lock = self._part(planned)
        if lock is None:
            return await self._time(planned)
        async with lock:
            return await self._time(planned)

    def _part(self, planned: Planned) -> asyncio.Lock | None:
        if planned.kind in OF_GATEWAYS:
            return self._gateways[planned.target]
        if planned.kind in {Kind.AUTH_RESTART, Kind.AUTH_CLOCK}:
            return self._auth
        return self._redis if planned.kind.startswith("redis") else None

    async def _time(self, planned: Planned) -> Fault:
        began = time.monotonic()
        self._note(Begun(began, planned.kind.value))
        target = await self._kinds[planned.kind](planned)
        ended = self._ended.get(planned, time.monotonic())
        await self.healed()
        back = self._back.get(planned, 0.0)
        return Fault(began, ended, time.monotonic(), planned.kind.value, target, back)

    async def healed(self) -> None:
        """Wait until every gateway wants connections; others' faults may delay it."""
        async with asyncio.timeout(_HEAL_SECONDS):
            for gateway in self._world.gateways:
                while not await gateway.is_ready():  # noqa: ASYNC110 - another process
                    await asyncio.sleep(_POLL_SECONDS)

    # Gateways

    @contextlib.asynccontextmanager
    async def _stopping(self, gateway: Program, kind: Kind) -> AsyncIterator[None]:
        async with self._down:
            began = time.monotonic()
            yield
            self._note(Down(began, gateway.name, time.monotonic(), kind.value))

    async def _kill(self, planned: Planned) -> str:
        gateway = self._world.gateways[planned.target]
        async with self._stopping(gateway, planned.kind):
            gateway.send(signal.SIGKILL)
            await gateway.gone()
            await asyncio.sleep(_DOWN_SECONDS * planned.amount)
            await _start(gateway)
        return gateway.name

    async def _terminate(self, planned: Planned) -> str:
        gateway = self._world.gateways[planned.target]
        async with self._stopping(gateway, planned.kind):
            await self._renew(gateway)
        return gateway.name

    async def _go_back(self, planned: Planned) -> str:
        """Have a gateway of the previous version beside the others for a while."""
        gateway = self._world.gateways[planned.target]
        for tree, seconds in ((self._world.previous, _BESIDE_SECONDS), (None, 0)):
            async with self._stopping(gateway, planned.kind):
                gateway.tree = tree
                await self._renew(gateway)
            await asyncio.sleep(seconds)
        return gateway.name

    async def _renew(self, gateway: Program) -> None:
        gateway.send(signal.SIGTERM)
        status = await gateway.gone()
        if status:
            raise RuntimeError(f"{gateway.name} ended with {status}")
        await _start(gateway)

    async def _pause(self, planned: Planned) -> str:
        gateway = self._world.gateways[planned.target]
        async with self._stopping(gateway, planned.kind):
            gateway.send(signal.SIGSTOP)
            await asyncio.sleep(planned.seconds)
            gateway.send(signal.SIGCONT)
        return gateway.name

    async def _roll(self, planned: Planned) -> str:
        for lock, gateway in zip(self._gateways, self._world.gateways, strict=True):
            async with lock, self._stopping(gateway, planned.kind):
                await self._renew(gateway)
        async with self._auth:
            await self._renew(self._world.auth)
            await self._world.auth.ready()
        await self._reload(planned)
        return "everything"

    # Redis

    async def _restart_redis(self, planned: Planned) -> str:
        await self._redis_again(planned, lambda: None)
        return "redis"

    async def _empty_redis(self, planned: Planned) -> str:
        await self._redis_again(planned, self._forget)
        return "redis"

    async def _cut_tail(self, planned: Planned) -> str:
        await self._redis_again(planned, lambda: self._shorten(planned.amount))
        return "redis"

    async def _redis_again(self, planned: Planned, meanwhile: Callable[[], None]) -> None:
        server = self._world.redis.master
        server.kill()
        meanwhile()
        await asyncio.sleep(planned.seconds / 2)
        self._back[planned] = time.monotonic()
        await asyncio.to_thread(server.start)

    def _forget(self) -> None:
        shutil.rmtree(self._world.redis.folder / "appendonlydir")

    def _shorten(self, amount: float) -> None:
        (file,) = self._newest()
        size = file.stat().st_size
        with file.open("r+b") as opened:
            opened.truncate(max(0, size - 500 - int(amount * _MOST_CUT_BYTES)))

    def _newest(self) -> list[Path]:
        files = sorted((self._world.redis.folder / "appendonlydir").glob("*.incr.aof"))
        return files[-1:]

    async def _fail_over(self, planned: Planned) -> str:
        """Kill the master; the replica takes over, and is followed by the one killed."""
        return await self._replace(planned, self._kill_master)

    async def _hand_over(self, planned: Planned) -> str:
        return await self._replace(planned, Sentinels.hand_over)

    @staticmethod
    async def _kill_master(sentinels: Sentinels) -> None:
        sentinels.master.kill()
        await sentinels.taken_over()

    async def _replace(
        self, planned: Planned, change: Callable[[Sentinels], Awaitable[None]]
    ) -> str:
        sentinels = self._world.redis
        assert isinstance(sentinels, Sentinels)
        # From the first moment on: nobody sees from outside when the replica begins to answer.
        self._back[planned] = time.monotonic()
        former = sentinels.master
        await change(sentinels)
        self._ended[planned] = time.monotonic()
        await sentinels.follow(former)
        return "redis"

    async def _pause_redis(self, planned: Planned) -> str:
        pid = self._world.redis.master.pid
        os.kill(pid, signal.SIGSTOP)
        # Shorter than makes sentinels choose another.
        await asyncio.sleep(min(planned.seconds, self._world.redis.patience_seconds))
        self._back[planned] = time.monotonic()
        os.kill(pid, signal.SIGCONT)
        return "redis"

    # Networks

    def _links(self, weather: Weather) -> Callable[[Planned], Awaitable[str]]:
        async def change(planned: Planned) -> str:
            links = self._world.links
            chosen = links if planned.target < 0 else [links[planned.target]]
            for link in chosen:
                link.change(weather)
            await asyncio.sleep(planned.seconds)
            for link in chosen:
                link.change(Weather.FAIR)
            return "all links" if planned.target < 0 else f"link of gateway-{planned.target}"

        return change

    async def _cut_clients(self, planned: Planned) -> str:
        self._world.rough.change(Weather.CUT)
        await asyncio.sleep(planned.seconds)
        self._world.rough.change(Weather.FAIR)
        return "some clients"

    async def _slow_clients(self, planned: Planned) -> str:
        self._world.rough.change(Weather.SLOW)
        await asyncio.sleep(planned.seconds)
        self._world.rough.change(Weather.FAIR)
        return "some clients"

    async def _reload(self, _: Planned) -> str:
        self._world.front.send(signal.SIGHUP)
        return "nginx"

    # Clients

    async def _slow_reader(self, _: Planned) -> str:
        name = f"slow-{next(self._numbers)}"
        watch = asyncio.create_task(self._watch_cuts())
        try:
            await self._cast.order(
                flood=f"flood:{name}",
                name=name,
                token=(await self._log_in(self._world.users[0]))["access_token"],
                seconds=_FLOOD_SECONDS,
            )
            await self._cast.said(f"flood {name}", 40)
        finally:
            watch.cancel()
        return name

    async def _watch_cuts(self) -> None:
        """Note each connection that a gateway ends because it is slow."""
        seen: dict[str, float] = {}
        while True:
            for gateway in self._world.gateways:
                count = await gateway.metric(_SLOW_CODE)
                for _ in range(int(count - seen.get(gateway.name, count))):
                    self._note(SlowCut(time.monotonic(), gateway.name))
                seen[gateway.name] = count
            await asyncio.sleep(_DOWN_SECONDS)

    # Tokens

    async def _log_in(self, user: str) -> dict[str, str]:
        form = {"grant_type": "password", "client_id": CLIENT}
        form |= {"username": user, "password": PASSWORD}
        answer = await self._ask("POST", "/token", data=form)
        return dict(answer.json())

    async def _ask(
        self,
        method: str,
        path: str,
        *,
        data: dict[str, str] | None = None,
        headers: dict[str, str] | None = None,
    ) -> httpx2.Response:
        """Ask until it is answered well: what is repeated here may be."""
        deadline = time.monotonic() + _HEAL_SECONDS
        while True:
            try:
                async with httpx2.AsyncClient(
                    base_url=f"http://127.0.0.1:{self._world.plain}", trust_env=False, timeout=5
                ) as http:
                    answer = await http.request(method, path, data=data, headers=headers)
                if answer.is_success:
                    return answer
                problem = f"{answer.status_code} {answer.text}"
            except httpx2.HTTPError as error:
                problem = repr(error)
            if time.monotonic() > deadline:
                raise TimeoutError(f"{method} {path}: {problem}")
            await asyncio.sleep(_POLL_SECONDS)

    async def _victim(self, kept: str) -> tuple[str, dict[str, str], bool]:
        number = next(self._numbers)
        user = self._world.users[number % len(self._world.users)]
        tokens = await self._log_in(user)
        name = f"victim-{number}"
        await self._cast.order(victim=tokens["access_token"], name=name, channel=kept)
        return name, tokens, await self._cast.said(f"victim {name}", 12)

    async def _revoke_token(self, _: Planned) -> str:
        name, tokens, there = await self._victim("kept:0")
        if there:
            form = {"token": tokens["access_token"], "client_id": CLIENT}
            await self._ask("POST", "/revoke", data=form)
            claims = _claims(tokens["access_token"])
            await self._seen("jti", claims["jti"])
            self._note(Revoked(time.monotonic(), claims["jti"], "jti"))
        return name

    async def _end_session(self, _: Planned) -> str:
        name, tokens, there = await self._victim("kept:1")
        if there:
            claims = _claims(tokens["access_token"])
            async with self._world.operator() as service:
                await service.administration.end_session(claims["sid"])
            await self._seen("sid", claims["sid"])
            self._note(Revoked(time.monotonic(), claims["jti"], "sid"))
        return name

    async def _seen(self, kind: str, value: str) -> None:
        """Wait until an entry is in the log."""
        async with asyncio.timeout(_HEAL_SECONDS):
            while True:
                try:
                    async with redis.asyncio.Redis(port=self._world.redis.master.port) as client:
                        entries: Any = await client.xrevrange(REVOCATIONS, count=20)
                except (RedisError, OSError):
                    entries = []
                wanted = kind.encode(), value.encode()
                if any((fields[b"kind"], fields[b"value"]) == wanted for _, fields in entries):
                    return
                await asyncio.sleep(_POLL_SECONDS)

    # The token service

    async def _rotate(self, _: Planned) -> str:
        async with self._world.operator() as service:
            await service.rotation.rotate()
        return "auth"

    async def _restart_auth(self, _: Planned) -> str:
        await self._renew(self._world.auth)
        await self._world.auth.ready()
        return "auth"

    async def _set_clock(self, planned: Planned) -> str:
        offset = round((2 * planned.amount - 1) * CLOCK_SECONDS, 1)
        self._world.clock_file.write_text(str(offset), "ascii")
        await asyncio.sleep(planned.seconds)
        self._world.clock_file.write_text("0", "ascii")
        return f"auth {offset:+} s"


async def _start(gateway: Program) -> None:
    gateway.start()
    await gateway.ready()


def _claims(token: str) -> dict[str, str]:
    return dict(jwt.get_unverified_claims(token))
