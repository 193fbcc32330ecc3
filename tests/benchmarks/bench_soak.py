"""A hundred clients with tokens of half a minute, for 20 minutes: is all gone when they are?

    make bench PART=soak             20 minutes and some before and after, into docs/performance.md
    make bench PART=soak FAST=1      one minute, printed only

A stack of its own is started, with nginx, Redis and PostgreSQL as ``make up`` has them. Everybody
comes once and goes before the first look, so that what is loaded or opened only once is there.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import secrets
import signal
import ssl
import sys
import tempfile
import time
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path

import httpx2
from prometheus_client.parser import text_string_to_metric_families
from redis import Redis

from auth_service.tokens import AccessTokens
from infra.embedded import certificate, demo_users
from infra.load import tokens
from infra.stack.settings import Settings
from tests.benchmarks import census, report
from tests.benchmarks.census import MIB, Census
from tests.benchmarks.gateway.accounting import cpu_of
from tests.benchmarks.measure import rss_bytes
from tests.benchmarks.own_stack import environment, gateway_names, members, own_stack
from tests.benchmarks.report import Row
from tests.benchmarks.soak_clients import Place, Soak, Tally
from tests.benchmarks.timeline import Panel, timeline
from ws_gateway.closes import KEPT

CLIENTS, GATEWAYS = 100, 2
EVERY = 5.0
TOKEN_SECONDS = 30
LOOK_SECONDS = 10.0
OFFSET = 5_100
HISTORY_SECONDS, POSITION_SECONDS = 10, 20
SETTLE_SECONDS = 120.0
MORE_FILES = 4
MORE_MEMORY = 3 * MIB
_SETTLE_LOOK_SECONDS = 1.0
_CHECK_SECONDS = 10  # positions are looked at, and kept, within their time
_GAUGES = (
    "gateway_connections",
    "gateway_connections_unauthenticated",
    "gateway_subscriptions_active",
    "gateway_channels_active",
    "gateway_presence_entries",
    "gateway_tasks",
    "gateway_table_entries",
)
_TITLE = "The gateway: a soak with tokens of half a minute"
_ABOUT = (
    "`make bench PART=soak`. Of ten clients six stay, two come and go, one is bare, and one has "
    f"its tokens from `/token`; the others' tokens live {TOKEN_SECONDS} seconds. Each does "
    f"something every {EVERY:g} seconds: publishes, asks for history or presence, leaves its room "
    "and comes back, or visits a room that nobody else ever does. All of them came and went once "
    "before the first look."
)
_ABOUT_TIME = (
    f"History lives {HISTORY_SECONDS} seconds here and positions {POSITION_SECONDS}, so that what "
    "has a time to live in Redis can be seen to go; with the demo's settings `ch:s` (history) "
    "stays for an hour and `ch:m` (positions) longer."
)
_CHANNELS = f"""
[namespaces.room]
allow_subscribe_for_client = true
allow_publish_for_client = true
allow_history_for_subscriber = true
history_size = 20
history_ttl = "{HISTORY_SECONDS}s"
history_meta_ttl = "{POSITION_SECONDS}s"
force_recovery = true
presence = true
allow_presence_for_subscriber = true
join_leave = true
"""


class Eyes:
    """Looks at the servers.

    Args:
        settings: Of the stack.
    """

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._gateways = gateway_names(settings)
        self._http = httpx2.Client(trust_env=False)
        self._redis = Redis(port=settings.ports.redis, decode_responses=True)
        self._ports = {
            name: settings.ports.gateway_internal(number)
            for number, name in enumerate(self._gateways, 1)
        }

    def look(self) -> Census:
        """Look at them now."""
        # Not PostgreSQL, whose processes are its connections.
        parts = members(self._settings, ["nginx", "redis", "auth-service", *self._gateways])
        return Census(
            at=time.monotonic(),
            memory={name: sum(map(rss_bytes, pids)) for name, pids in parts.items()},
            files={name: sum(map(_open_files, pids)) for name, pids in parts.items()},
            cpu={
                **{name: cpu_of(pids[:1]) for name, pids in parts.items()},
                "the clients": time.process_time(),
            },
            gauges={name: self._gauges(port) for name, port in self._ports.items()},
            keys=census.kinds(self._redis.scan_iter(count=1000)),
        )

    def close(self) -> None:
        """Look no more."""
        self._http.close()
        self._redis.close()

    def _gauges(self, port: int) -> dict[str, float]:
        text = self._http.get(f"http://127.0.0.1:{port}/metrics").text
        return {
            " ".join((sample.name, *sample.labels.values())): sample.value
            for family in text_string_to_metric_families(text)
            if family.name in _GAUGES
            for sample in family.samples
        }


def _open_files(pid: int) -> int:
    return len(os.listdir(f"/proc/{pid}/fd"))  # noqa: PTH208 - numbers are all that is needed


def place(settings: Settings) -> Place:
    """Say where the clients go, and how they get tokens."""
    access = AccessTokens(
        keys=tokens.stack_keys(settings.auth),
        issuer=settings.auth.issuer,
        audience=settings.auth.audience,
        lifetime_seconds=TOKEN_SECONDS,
    )

    def mint(number: int) -> str:
        return access.mint(
            sub=f"soak-{number}",
            name=f"soak-{number}",
            client_id="soak",
            scopes={"connect"},
            sid=secrets.token_urlsafe(16),
            now=time.time(),
        ).text

    lines = settings.local.path(demo_users.FILE).read_text("utf-8").splitlines()
    return Place(
        front=str(settings.origin),
        tls=ssl.create_default_context(cafile=settings.local.path(certificate.CA)),
        mint=mint,
        passwords=dict(line.split(":", 1) for line in lines),
        every=EVERY,
    )


async def measure(clients: int, seconds: float) -> tuple[list[Row], str]:
    """Let the clients come, stay and go; returns the rows and the picture."""
    with tempfile.TemporaryDirectory(prefix="drawbridge-bench-") as name, ExitStack() as ends:
        channels = Path(name) / "channels.toml"
        channels.write_text(_CHANNELS, "utf-8")
        variables = environment(
            Path(name),
            offset=OFFSET,
            gateways=GATEWAYS,
            more={
                "GATEWAY_CHANNELS_FILE": str(channels),
                "GATEWAY_POSITION_CHECK_SECONDS": str(_CHECK_SECONDS),
                "AUTH_ACCESS_TOKEN_SECONDS": "60",  # the least
            },
        )
        settings = await asyncio.to_thread(ends.enter_context, own_stack(variables))
        eyes = Eyes(settings)
        ends.callback(eyes.close)
        where = await asyncio.to_thread(place, settings)
        empty = await asyncio.to_thread(eyes.look)
        await Soak(where, clients, Tally()).run(min(60.0, seconds / 4))
        before, _ = await settle(eyes, empty, clients)
        tally = Tally()
        soaking = asyncio.create_task(Soak(where, clients, tally).run(seconds))
        looks = [before]
        while not await _ended(soaking, LOOK_SECONDS):
            looks.append(await asyncio.to_thread(eyes.look))
        await soaking
        ended = await asyncio.to_thread(eyes.look)
        after, left = await settle(eyes, before, clients)
        rows = [
            *_doings(tally),
            *_load(before, ended),
            Row("what is left of it", "; ".join(left) or "nothing", not left, "nothing"),
            *census.rows([*looks, after], settled=len(looks) // 3, most_growth=MORE_MEMORY),
        ]
        return rows, _picture([*looks, ended, after])


async def settle(eyes: Eyes, before: Census, clients: int) -> tuple[Census, list[str]]:
    """Wait until all is as it was before; returns the last look, and what is still more."""
    until = time.monotonic() + SETTLE_SECONDS
    while True:
        look = await asyncio.to_thread(eyes.look)
        left = census.remaining(
            before,
            look,
            files=MORE_FILES,
            # Expired tokens are forgotten when another one comes: those of the last minute stay.
            # The others have a bound, and are kept for later.
            entries={
                "gateway_table_entries verified_tokens": 3.0 * clients,
                "gateway_table_entries positions": 10_000.0,
                "gateway_table_entries closes": float(KEPT),
            },
        )
        if not left or time.monotonic() > until:
            return look, left
        await asyncio.sleep(_SETTLE_LOOK_SECONDS)


async def _ended(task: asyncio.Task[None], seconds: float) -> bool:
    done, _ = await asyncio.wait([task], timeout=seconds)
    return bool(done)


def _doings(tally: Tally) -> list[Row]:
    failed = ", ".join(f"{what} ({count})" for what, count in tally.failed.most_common(5))
    ends = ", ".join(f"{code} ({count})" for code, count in tally.ends.most_common(5))
    return [
        Row(
            "connections; tokens",
            f"{tally.arrivals:,}; {tally.tokens:,}",
            True,
            "",
        ),
        Row(
            "commands of SDK clients; publications heard",
            f"{tally.done.total() - tally.done['bare']:,}; {tally.heard:,}",
            tally.heard > 0,
            "",
        ),
        Row("commands that failed", failed or "none", not tally.failed, "none"),
        Row("connections that were ended, but by expiry", ends or "none", not tally.ends, "none"),
    ]


def _load(before: Census, ended: Census) -> list[Row]:
    elapsed = ended.at - before.at
    shares = {name: (ended.cpu[name] - before.cpu[name]) / elapsed for name in before.cpu}
    each = ", ".join(f"{name} {share:.1%}" for name, share in shares.items())
    return [Row(f"CPU, of a core: {each}", f"{sum(shares.values()):.1%}", True, "")]


def _picture(looks: Sequence[Census]) -> str:
    seconds = [look.at - looks[0].at for look in looks]
    parts = [name for name in looks[0].memory if name != "nginx"]
    gateways = list(looks[0].gauges)

    def gauge(name: str) -> dict[str, list[float]]:
        return {one: [look.gauges[one].get(name, 0.0) for look in looks] for one in gateways}

    return timeline(
        _TITLE,
        seconds,
        [
            Panel("MiB", {name: [look.memory[name] / MIB for look in looks] for name in parts}),
            Panel("files", {name: [look.files[name] for look in looks] for name in gateways}),
            Panel("open", gauge("gateway_connections")),
            Panel("tokens", gauge("gateway_table_entries verified_tokens")),
            Panel("keys", {"Redis": [float(sum(look.keys.values())) for look in looks]}),
        ],
    )


def main() -> int:
    """Measure, and write the page; returns the exit status."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--fast", action="store_true", help="one minute, printed only")
    parser.add_argument("--minutes", type=float, default=20)
    given = parser.parse_args()
    seconds = 60.0 if given.fast else given.minutes * 60
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))
    load = os.getloadavg()[0]
    rows, picture = asyncio.run(measure(CLIENTS, seconds))
    heading = f"Soak of {CLIENTS} clients, {GATEWAYS} gateways, for {seconds / 60:g} min"
    report.show(
        _TITLE,
        [(heading, rows)],
        save=not given.fast,
        pictures={heading: picture},
        notes=(f"{_ABOUT} The machine's load was {load:.1f} before it began.", _ABOUT_TIME),
    )
    return 0 if all(row.good for row in rows) else 1


if __name__ == "__main__":
    sys.exit(main())
