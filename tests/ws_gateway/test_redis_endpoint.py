"""Where Redis is, in every form of the setting; real servers at the other end."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import re
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest
from redis.asyncio.connection import SSLConnection
from redis.asyncio.sentinel import Sentinel

from infra.embedded import certificate
from infra.embedded.local_directory import LocalDirectory
from tests.integration.embedded import free_ports
from tests.redis_guard import make_certificate
from tests.redis_sentinel import RedisSentinels
from tests.redis_server import RedisServer
from tests.ws_gateway.broker.conftest import until
from ws_gateway.redis_commands import Commands
from ws_gateway.redis_endpoint import Endpoint, read_address
from ws_gateway.redis_link import Timing


class Doors(RedisServer):
    """A Redis that can be reached over TCP, TLS and a file."""

    def __init__(self, directory: Path) -> None:
        local = LocalDirectory(str(directory))
        certificate.ensure(local)
        (self.tls,) = free_ports(1)
        super().__init__(
            directory,
            *("--tls-port", str(self.tls), "--tls-auth-clients", "no"),
            *("--tls-cert-file", str(local.path(certificate.SERVER))),
            *("--tls-key-file", str(local.path(certificate.KEY))),
            *("--tls-ca-cert-file", str(local.path(certificate.CA))),
            *("--unixsocket", str(directory / "s"), "--bind", "127.0.0.1", "127.0.0.2"),
        )


@pytest.fixture
def redis(tmp_path: Path) -> Iterator[Doors]:
    """One of them, for one test."""
    server = Doors(tmp_path).start()
    yield server
    server.kill()


class TestAddress:
    """Where Redis is comes from a setting, with a password in it."""

    @pytest.mark.parametrize(
        "url",
        [
            "",
            "secret",
            "http://:secret@host",
            "redis://:secret@host:port",
            "redis://:secret@host/?db=secret",
            "redis://:secret@host/?nonsense=secret",
            "rediss://:secret@host/?ssl_cert_reqs=secret",
            "redis://[secret",
        ],
    )
    def test_a_wrong_one_is_refused_without_repeating_it(self, url: str) -> None:
        """Nobody wants a password in a log, and a traceback is one."""
        with pytest.raises(ValueError, match=r"^(must be|has an option)") as refused:
            Endpoint(url)

        assert "secret" not in str(refused.value)
        assert refused.value.__cause__ is None
        assert refused.value.__suppress_context__

    async def test_a_password_is_in_no_log(
        self, redis: Doors, caplog: pytest.LogCaptureFixture
    ) -> None:
        """Not where it is wrong, and not where it is right."""
        redis.ask("CONFIG", "SET", "requirepass", "right-secret")
        for password, news in (
            ("wrong-secret", "redis is away: AuthenticationError"),
            ("right-secret", "redis is connected: "),
        ):
            url = redis.url.replace("redis://", f"redis://:{password}@")

            assert (await first_news(Endpoint(url), caplog)).startswith(news)
            assert not [r for r in caplog.records if "secret" in f"{r.__dict__}"]

    async def test_a_file_will_do(self, redis: Doors, tmp_path: Path) -> None:
        """``unix://``."""
        assert await answers(Endpoint(f"unix://{tmp_path}/s"))
        assert redis.connections() == 0


class TestTLS:
    """``rediss://`` encrypts, and knows to whom."""

    async def test_who_has_a_certificate_of_the_authority_is_believed(
        self, redis: Doors, tmp_path: Path
    ) -> None:
        """By the name in the URL."""
        authority = f"?ssl_ca_certs={tmp_path}/{certificate.CA}"

        assert await answers(Endpoint(f"rediss://localhost:{redis.tls}/{authority}"))
        assert await answers(Endpoint(f"rediss://127.0.0.1:{redis.tls}/{authority}"))

    async def test_an_unknown_authority_is_not_believed(
        self, redis: Doors, caplog: pytest.LogCaptureFixture
    ) -> None:
        """Verification is the default."""
        news = await first_news(Endpoint(f"rediss://localhost:{redis.tls}"), caplog)

        assert news.startswith("redis is away")
        assert "certificate verify failed" in news

    async def test_a_certificate_of_another_host_is_not_believed(
        self, redis: Doors, tmp_path: Path, caplog: pytest.LogCaptureFixture
    ) -> None:
        """The authority alone proves little: it signs for others too."""
        url = f"rediss://127.0.0.2:{redis.tls}/?ssl_ca_certs={tmp_path}/{certificate.CA}"

        news = await first_news(Endpoint(url), caplog)

        assert news.startswith("redis is away")
        assert "IP address mismatch" in news

    async def test_a_server_without_tls_is_not_spoken_to(
        self, redis: Doors, caplog: pytest.LogCaptureFixture
    ) -> None:
        """The password never leaves."""
        url = f"rediss://:secret@localhost:{redis.port}"

        assert (await first_news(Endpoint(url), caplog)).startswith("redis is away")

    async def test_a_server_may_ask_for_a_certificate_of_ours(
        self, redis: Doors, tmp_path: Path, caplog: pytest.LogCaptureFixture
    ) -> None:
        """And refuses who has none."""
        ours, key = (str(tmp_path / name) for name in ("ours.pem", "ours.key"))
        make_certificate(Path(ours), Path(key))
        redis.ask("CONFIG", "SET", "tls-auth-clients", "yes", "tls-ca-cert-file", ours)
        anonymous = f"rediss://localhost:{redis.tls}/?ssl_ca_certs={tmp_path}/{certificate.CA}"

        assert (await first_news(Endpoint(anonymous), caplog)).startswith("redis is away")
        assert await answers(Endpoint(f"{anonymous}&ssl_certfile={ours}&ssl_keyfile={key}"))


class TestSeveral:
    """Sentinels and clusters have several addresses, and one way in."""

    def test_sentinels_are_read(self) -> None:
        """With the master's name, its database and its password; theirs is another one."""
        address = read_address(
            "redis+sentinel://app:s%40crt@one:1,two,[::1]:3/main/2?sentinel_password=x"
        )

        assert address.nodes == (("one", 1), ("two", 26379), ("::1", 3))
        assert address.service == "main"
        options = address.options
        assert (options["username"], options["password"], options["db"]) == ("app", "s@crt", 2)
        assert address.sentinel_options == {"password": "x"}
        assert "s@crt" not in repr(address)

    def test_a_cluster_is_read(self) -> None:
        """Some of its servers are enough."""
        address = read_address("redis+cluster://:secret@one:1,two")

        assert address.nodes == (("one", 1), ("two", 6379))
        assert address.options["password"] == "secret"

    def test_with_tls_the_sentinels_are_believed_by_the_same_authority(
        self, tmp_path: Path
    ) -> None:
        """``rediss`` is for both."""
        local = LocalDirectory(str(tmp_path))
        certificate.ensure(local)
        path = str(local.path(certificate.CA))

        address = read_address(f"rediss+sentinel://one/main?ssl_ca_certs={path}")

        assert address.connection is SSLConnection
        assert address.sentinel_options == {"ssl": True, "ssl_ca_certs": path}

    @pytest.mark.parametrize(
        ("url", "said"),
        [
            ("redis+sentinel://secret@host", "must name the master"),
            ("redis+sentinel://secret@host/main/secret", "must have a number as its database"),
            ("redis+sentinel://secret@host,,host/main", "has an empty address"),
            ("redis+sentinel://secret@host:secret/main", "must be a redis://"),
            ("redis+sentinel:///secret", "must be a redis://"),
            ("redis+other://secret@host/main", "must be a redis://"),
            ("redis+cluster://secret@host/1", "must have no path"),
            ("redis+cluster://secret@host?secret=1", "has an option"),
            ("rediss://secret@host?ssl_ca_certs=/secret", "ssl_ca_certs: cannot read the file: No"),
            ("rediss+cluster://host?ssl_keyfile=/secret", "ssl_keyfile: cannot read the file: No"),
        ],
        ids=range(10),
    )
    def test_what_is_wrong_is_said_in_a_line_without_repeating_it(
        self, url: str, said: str
    ) -> None:
        """The line is for the operator, and logs are read by others too."""
        with pytest.raises(ValueError, match=f"^{re.escape(said)}") as refused:
            Endpoint(url)

        assert "secret" not in str(refused.value)
        assert "\n" not in str(refused.value)

    def test_files_that_are_none_of_tls_are_refused_at_once(self, tmp_path: Path) -> None:
        """Not at the first connection, when nobody looks."""
        (tmp_path / "ca.pem").write_text("no certificate")

        with pytest.raises(ValueError, match=r"^its TLS files cannot be used"):
            Endpoint(f"rediss://host?ssl_ca_certs={tmp_path}/ca.pem")


class TestSentinel:
    """The sentinels are asked for the master at every connection."""

    async def test_a_sentinel_that_is_dead_is_passed_over(self, sentinels: RedisSentinels) -> None:
        """One that answers is enough."""
        for sentinel in sentinels.sentinels[:2]:
            sentinel.kill()
        try:
            for _ in range(3):
                assert await answers(Endpoint(sentinels.url))
        finally:
            for sentinel in sentinels.sentinels[:2]:
                sentinel.start()

    async def test_a_replica_is_not_taken_for_a_master(
        self, sentinels: RedisSentinels, caplog: pytest.LogCaptureFixture
    ) -> None:
        """Whoever names it knows less than the server itself."""
        replica = next(s for s in sentinels.servers if s.port != sentinels.master_port())

        async def locate() -> tuple[str, int]:
            return "127.0.0.1", replica.port

        news = await first_news(Endpoint(read_address(sentinels.url), locate), caplog)

        assert news == "redis is away: RedisError: the server that was named is no master"

    async def test_who_gives_up_while_they_are_asked_is_heard(
        self, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """``asyncio.wait_for`` of Python 3.11 may lose it; a gateway that ends would hang."""
        begun = asyncio.Event()

        async def discover(*_: object) -> tuple[str, int]:
            begun.set()
            with contextlib.suppress(asyncio.CancelledError):
                await asyncio.Event().wait()
            return "127.0.0.1", 1

        monkeypatch.setattr(Sentinel, "discover_master", discover)
        connection = Endpoint("redis+sentinel://127.0.0.1:1/main").connection()
        connecting = asyncio.ensure_future(connection.connect())  # type: ignore[no-untyped-call]
        await begun.wait()
        connecting.cancel()

        await asyncio.wait({connecting}, timeout=20)
        assert connecting.cancelled()

    async def test_an_unknown_name_is_said_without_a_password(
        self, sentinels: RedisSentinels, caplog: pytest.LogCaptureFixture
    ) -> None:
        """The log is for those who run it."""
        url = sentinels.url.replace("://", "://:secret@").replace("/main", "/other")

        news = await first_news(Endpoint(url), caplog)

        assert news.startswith("redis is away: MasterNotFoundError: No master found for 'other'")
        assert "secret" not in caplog.text


@pytest.fixture(scope="module")
def sentinels(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RedisSentinels]:
    """A master, a replica and three who watch them, for all tests here."""
    servers = RedisSentinels(tmp_path_factory.mktemp("sentinels"))
    try:
        yield servers.start()
    finally:
        servers.kill()


@contextlib.asynccontextmanager
async def linked(endpoint: Endpoint) -> AsyncIterator[Commands]:
    """Keep a connection for a while."""
    commands = Commands(endpoint, timing=Timing())
    task = asyncio.create_task(commands.link.run())
    try:
        yield commands
    finally:
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await task
        commands.close()


async def answers(endpoint: Endpoint) -> bool:
    """Tell whether a Redis is there."""
    async with linked(endpoint) as commands:
        await until(lambda: commands.link.connected)
        return bool(await commands.request(b"PING") == b"PONG")


async def first_news(endpoint: Endpoint, caplog: pytest.LogCaptureFixture) -> str:
    """Return what a link says first in the log, and why."""
    caplog.clear()
    caplog.set_level(logging.INFO)
    async with linked(endpoint):
        await until(lambda: any(hasattr(record, "link") for record in caplog.records))
    record = next(r for r in caplog.records if hasattr(r, "link"))
    return f"{record.getMessage()}: {getattr(record, 'reason', '')}"
