"""The composition: its parts, when it is ready, and what it refuses to start with."""

from __future__ import annotations

import asyncio
import json
import logging
import re
from collections.abc import AsyncIterator
from math import inf
from pathlib import Path
from typing import Any

import httpx2
import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from fastapi import FastAPI, HTTPException
from jose import jwk
from prometheus_client import generate_latest
from prometheus_client.parser import text_string_to_metric_families
from pydantic import SecretStr
from starlette.testclient import TestClient, WebSocketDenialResponse

from tests.ws_gateway.hmac_backend import SECRET, sign
from ws_gateway import app as composition, verifier
from ws_gateway.app import (
    Gateway,
    create_app,
    create_internal_app,
    create_standalone_app,
    open_gateway,
)
from ws_gateway.exceptions import ConfigurationError, InvalidToken
from ws_gateway.rate_limit import Rate
from ws_gateway.revocations.log import RevocationLog
from ws_gateway.revocations.poll import PollReader
from ws_gateway.settings import IssuerEntry, Settings

PAGE = (Path(__file__).parents[2] / "docs" / "revocations.md").read_text("utf-8")
KEY = jwk.construct(ec.generate_private_key(ec.SECP256R1()), "ES256")  # type: ignore[arg-type]
ENTRY = {"issuer": "https://a.example", "jwks_url": "https://a.example/k", "audience": "us"}


class Publisher:
    """An issuer that may be away."""

    def __init__(self) -> None:
        self.up = True
        self.fetches = 0

    async def __call__(self, _url: str) -> bytes:
        """Answer with the key set."""
        self.fetches += 1
        if not self.up:
            raise ConnectionRefusedError
        return json.dumps({"keys": [KEY.public_key().to_dict() | {"kid": "k"}]}).encode()


@pytest.fixture(autouse=True)
def publisher(monkeypatch: pytest.MonkeyPatch) -> Publisher:
    """The issuer that every gateway of these tests asks."""
    publisher = Publisher()
    monkeypatch.setattr(verifier, "fetch_document", publisher)
    monkeypatch.setattr(composition, "_KEYS_RETRY_SECONDS", 0.001)
    return publisher


@pytest.fixture
async def opened() -> AsyncIterator[Gateway]:
    """A gateway with default settings."""
    async with open_gateway(Settings()) as gateway:
        yield gateway


def client(app: FastAPI) -> httpx2.AsyncClient:
    """Return a client of an application."""
    return httpx2.AsyncClient(transport=httpx2.ASGITransport(app), base_url="http://gateway")


async def keys(gateway: Gateway) -> None:
    """Wait until the issuers' keys are known."""
    while not gateway.verifier.ready:  # noqa: ASYNC110
        await asyncio.sleep(0.001)


def samples(gateway: Gateway) -> dict[str, float]:
    """Read the metrics without labels."""
    text = generate_latest(gateway.metrics.registry).decode()
    return {
        sample.name: sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
        if not sample.labels
    }


async def refusal(**settings: Any) -> str:  # noqa: ANN401 - settings of all types
    """Return the line that a gateway refuses to start with."""
    with pytest.raises(ConfigurationError) as caught:
        await open_gateway(Settings(**settings)).__aenter__()
    line = str(caught.value)
    assert "\n" not in line
    assert asyncio.all_tasks() == {asyncio.current_task()}
    return line


class TestStart:
    """What cannot work stops the start, with a line that names the variable."""

    @pytest.mark.parametrize(
        "origin", ["https://x/", "https://X", "*", "null", "https://x:443", "localhost"]
    )
    async def test_origin_that_no_browser_sends_is_refused(self, origin: str) -> None:
        """It would silently allow nobody."""
        line = await refusal(origins=(origin,))

        assert line.startswith("GATEWAY_ORIGINS: ")
        assert repr(origin) in line

    @pytest.mark.parametrize(
        "entries",
        [
            [ENTRY | {"user_prefix": "client"}],
            [ENTRY | {"user_prefix": "A"}],
            [ENTRY | {"user_prefix": "x" * 17}],
            [ENTRY | {"jwks_url": "ftp://a.example"}],
            [ENTRY | {"issuer": ""}],
            [ENTRY, ENTRY],
            [ENTRY, ENTRY | {"issuer": "https://b.example"}],
            [
                ENTRY | {"user_prefix": "a"},
                ENTRY | {"user_prefix": "a", "issuer": "https://b.example"},
            ],
        ],
    )
    async def test_issuers_that_cannot_be_told_apart_are_refused(
        self, entries: list[dict[str, str]]
    ) -> None:
        """``sub`` is unique within one issuer only."""
        line = await refusal(issuers=json.dumps(entries))

        assert line.startswith("GATEWAY_ISSUERS: ")

    async def test_bad_channels_file_is_refused(self, tmp_path: Path) -> None:
        """Also if it is not there."""
        line = await refusal(channels_file=tmp_path / "missing.toml")

        assert line.startswith("GATEWAY_CHANNELS_FILE: ")

    async def test_hooks_that_cannot_be_imported_are_refused(self) -> None:
        """At the start, not at the first call."""
        assert (await refusal(hooks="no_such_module:hooks")).startswith("GATEWAY_HOOKS: ")

    async def test_settings_reach_the_parts(self) -> None:
        """Each limit is somebody's."""
        settings = Settings(
            connect_timeout_seconds=1,
            ping_interval=2,
            pong_timeout=1.5,
            expiry_grace_seconds=4,
            max_channels=5,
            max_connection_age=60,
            max_queue_bytes=70_000,
            max_stall_seconds=7,
            max_message_bytes=2048,
        )
        async with open_gateway(settings) as gateway:
            session, write = gateway.node.session_limits, gateway.node.write_limits

            assert (session.connect_timeout, session.ping_interval) == (1, 2)
            assert (session.pong_timeout, session.expiry_grace) == (1.5, 4)
            assert (session.max_channels, session.max_age) == (5, 60)
            assert (write.max_queue_bytes, write.max_stall_seconds) == (70_000, 7)
            assert gateway.node.max_message_bytes == 2048
            assert gateway.node.hooks is None

    async def test_a_connection_may_get_as_old_as_it_likes(self) -> None:
        """Unless a limit is set: 0 is none."""
        async with open_gateway(Settings()) as gateway:
            assert gateway.node.session_limits.max_age == inf

    async def test_settings_of_hooks_and_paces_reach_them(self) -> None:
        """The module's own timeout would have the last word."""
        settings = Settings(
            hooks="infra.demo.hooks:hooks",
            hook_timeout_seconds=3,
            commands_per_second=5,
            commands_burst=7,
            user_commands_per_second=0,
        )
        async with open_gateway(settings) as gateway:
            hooks = gateway.node.hooks

            assert hooks is not None
            assert hooks._calls.timeout_seconds == 3
            assert gateway.node.command_rate == Rate(per_second=5, burst=7)
            assert gateway.node.paces.enter("alice") is None

    async def test_tokens_of_the_secret_are_accepted_beside_an_issuers(self) -> None:
        """Connection and subscription tokens; an issuer's users are not theirs."""
        entry = IssuerEntry(**ENTRY, user_prefix="corp")
        settings = Settings(issuers=(entry,), hmac_secret=SecretStr(SECRET.decode()))
        async with open_gateway(settings) as gateway:
            credentials = await gateway.verifier.verify(sign({"sub": "42"}))

            assert credentials.user == "42"
            assert gateway.node.required_scope(credentials) == ""
            assert gateway.node.subscribing._tokens is not None
            assert gateway.node.subscribing._tokens.verify(sign({"channel": "a"})).channel == "a"
            with pytest.raises(InvalidToken, match="sub"):
                await gateway.verifier.verify(sign({"sub": "corp.42"}))

    async def test_without_a_secret_they_are_not(self) -> None:
        """And no subscription token is."""
        async with open_gateway(Settings()) as gateway:
            assert gateway.node.subscribing._tokens is None
            with pytest.raises(InvalidToken):
                await gateway.verifier.verify(sign({"sub": "42"}))

    async def test_insecure_is_said_again_and_again(
        self, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
    ) -> None:
        """So that nobody forgets it."""
        said = asyncio.Semaphore(0)

        def note(_record: logging.LogRecord) -> bool:
            said.release()
            return True

        monkeypatch.setattr(composition, "_WARN_SECONDS", 0.001)
        composition.logger.addFilter(note)

        async with open_gateway(Settings(insecure=True)) as gateway:
            for _ in range(3):
                await asyncio.wait_for(said.acquire(), 10)
            assert gateway.node.channels.insecure
        composition.logger.removeFilter(note)

        assert asyncio.all_tasks() == {asyncio.current_task()}
        warned = [record.message for record in caplog.records if record.levelno >= logging.WARNING]
        assert warned
        assert all(message.startswith("GATEWAY_INSECURE") for message in warned)

    async def test_nothing_is_left_running(self, publisher: Publisher) -> None:
        """Neither with an issuer that is up nor with one that is not."""
        for publisher.up in (True, False):
            async with open_gateway(Settings()) as gateway:
                await asyncio.sleep(0)
            assert asyncio.all_tasks() == {asyncio.current_task()}
            assert gateway.node.draining


class TestReadiness:
    """New sockets may come once keys and broker are there, and until the drain."""

    async def test_gateway_is_ready_once_the_issuer_is(self, publisher: Publisher) -> None:
        """It starts without, and asks again by itself (design section 3)."""
        publisher.up = False
        async with (
            open_gateway(Settings()) as gateway,
            client(create_internal_app(gateway)) as http,
        ):
            while publisher.fetches < 3:  # noqa: ASYNC110
                await asyncio.sleep(0.001)
            before = await http.get("/health/ready")
            publisher.up = True
            await keys(gateway)
            after = await http.get("/health/ready")

        assert before.status_code == 503
        assert before.json()["conditions"] == {
            "broker": True,
            "keys": False,
            "revocations": True,
            "not_draining": True,
            "room": True,
        }
        assert after.status_code == 200

    async def test_gateway_is_not_ready_without_its_broker(self, opened: Gateway) -> None:
        """And names it."""
        await keys(opened)
        await opened.node.broker.stop()

        assert opened.conditions() == {
            "broker": False,
            "keys": True,
            "revocations": True,
            "not_draining": True,
            "room": True,
        }

    async def test_gateway_is_not_ready_before_it_has_read_the_revocations(
        self, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """Promise 2; and it says how long it has known nothing."""
        started = asyncio.Event()

        async def follow(_self: object, _log: RevocationLog) -> None:
            started.set()
            await asyncio.Event().wait()

        monkeypatch.setattr(PollReader, "follow", follow)
        entry = IssuerEntry(**ENTRY, revocations="https://a.example/revocations")
        settings = Settings(issuers=(entry,), revocations_key=SecretStr("k" * 32))
        async with open_gateway(settings) as gateway:
            await keys(gateway)
            await started.wait()
            (log,) = gateway.revocations.values()
            before = gateway.conditions()
            log.read(log.now())

            assert not before["revocations"]
            assert gateway.conditions()["revocations"]
            shown = samples(gateway)
            assert shown["gateway_revocation_readable"] == 1
            assert shown["gateway_revocation_lag_seconds"] < 10
            assert set(re.findall(r"^\| `(gateway_\w+)`", PAGE, re.MULTILINE)) == {
                name
                for name in shown
                if name.startswith("gateway_revocation_") and not name.endswith("_created")
            }
        assert asyncio.all_tasks() == {asyncio.current_task()}

    async def test_gateway_that_drains_is_not_ready(self, opened: Gateway) -> None:
        """But alive."""
        await keys(opened)
        await opened.node.drain(0)
        async with client(create_internal_app(opened)) as http:
            ready, live = await http.get("/health/ready"), await http.get("/health/live")

        assert ready.status_code == 503
        assert ready.json()["conditions"]["not_draining"] is False
        assert live.status_code == 200


class TestApplications:
    """Two of them: what clients see, and what they never do."""

    @pytest.mark.parametrize(
        "path",
        ["/metrics", "/health/live", "/docs", "/redoc", "/openapi.json", "/api/publish"],
    )
    async def test_clients_see_nothing_internal(self, opened: Gateway, path: str) -> None:
        """Design section 2: the paths on the front."""
        async with client(create_app(opened)) as http:
            response = await http.get(path)

        assert (response.status_code, response.text) == (404, "Not Found")

    async def test_the_server_api_is_where_the_settings_say(self) -> None:
        """Internal where anybody may use it, public where that is wished, else nowhere."""
        issuers = (IssuerEntry(**ENTRY),)
        key = SecretStr("k" * 32)
        status: dict[str, tuple[int, int]] = {}
        for name, settings in (
            ("off", Settings(issuers=issuers)),
            ("internal", Settings(issuers=issuers, api_key=key)),
            ("public", Settings(issuers=issuers, api_key=key, api_public=True)),
        ):
            async with (
                open_gateway(settings) as gateway,
                client(create_app(gateway)) as public,
                client(create_internal_app(gateway)) as internal,
            ):
                answers = [
                    await http.post("/api/info", headers={"X-API-Key": "k" * 32})
                    for http in (public, internal)
                ]
                status[name] = answers[0].status_code, answers[1].status_code

        assert status == {"off": (404, 404), "internal": (404, 200), "public": (200, 200)}

    def test_under_another_server_a_weak_key_is_refused(self) -> None:
        """Nobody knows who can reach it there."""
        weak = SecretStr("api_key")

        with pytest.raises(ConfigurationError, match="GATEWAY_API_KEY"):
            create_standalone_app(Settings(api_key=weak, api_public=True))

    async def test_slash_at_the_end_is_another_path(self, opened: Gateway) -> None:
        """A redirect would be built of the Host header, which is the client's word."""
        async with client(create_app(opened)) as http:
            response = await http.get("/connection/websocket/")

        assert response.status_code == 404

    async def test_internal_port_describes_itself(self, opened: Gateway) -> None:
        """Its OpenAPI is there, and there only."""
        async with client(create_internal_app(opened)) as http:
            paths = (await http.get("/openapi.json")).json()["paths"]

        assert {"/health/ready", "/health/live", "/health/started", "/metrics"} <= set(paths)

    async def test_metrics_have_the_names_of_the_design(self, opened: Gateway) -> None:
        """``gateway_*``, and what the process itself says."""
        await keys(opened)
        async with client(create_internal_app(opened)) as http:
            text = (await http.get("/metrics")).text
        families = {found.name: found for found in text_string_to_metric_families(text)}

        assert {
            "gateway_build_info",
            "gateway_channels_active",
            "gateway_command_errors",
            "gateway_auth_token_verify_seconds",
            "gateway_connection_duration_seconds",
            "gateway_connections",
            "gateway_connections_limit",
            "gateway_disconnects",
            "gateway_draining",
            "gateway_event_loop_lag_seconds",
            "gateway_handshake_duration_seconds",
            "gateway_handshakes",
            "gateway_jwks_last_refresh_timestamp_seconds",
            "gateway_jwks_refresh",
            "gateway_message_bytes",
            "gateway_message_delivery_seconds",
            "gateway_messages_received",
            "gateway_messages_sent",
            "gateway_send_queue_depth",
            "gateway_send_queue_dropped",
            "gateway_subscriptions_active",
            "gateway_table_entries",
            "gateway_tasks",
            "process_resident_memory_bytes",
            "python_info",
        } <= set(families)
        refreshed = {
            sample.labels["result"]: sample.value
            for sample in families["gateway_jwks_refresh"].samples
            if sample.name.endswith("_total")
        }
        assert refreshed == {"ok": 1, "error": 0}

    async def test_what_is_kept_of_clients_can_be_seen(self, opened: Gateway) -> None:
        """So that a leak shows before memory does."""
        value = opened.metrics.registry.get_sample_value
        tables = (
            *("verified_tokens", "users", "user_paces", "addresses", "streams", "timers"),
            "closes",
        )
        kept = [value("gateway_table_entries", {"table": table}) for table in tables]
        before = value("gateway_tasks") or 0
        more = asyncio.create_task(asyncio.Event().wait())
        tasks = value("gateway_tasks")
        more.cancel()

        assert kept == [0] * len(tables)
        assert tasks == before + 1

    async def test_failed_fetches_of_keys_are_counted(self, publisher: Publisher) -> None:
        """So that an alert can tell an issuer that is away."""
        publisher.up = False
        async with open_gateway(Settings()) as gateway:
            while publisher.fetches < 2:  # noqa: ASYNC110
                await asyncio.sleep(0.001)
            failed = gateway.metrics.registry.get_sample_value(
                "gateway_jwks_refresh_total", {"result": "error"}
            )

        assert failed
        assert failed >= 1

    async def test_refusal_of_a_request_is_plain_text_and_no_handshake(
        self, opened: Gateway, caplog: pytest.LogCaptureFixture
    ) -> None:
        """Only handshakes are counted and logged as such."""
        caplog.set_level(logging.INFO)
        app = create_app(opened)

        @app.get("/refused")
        async def refuse() -> None:
            raise HTTPException(418, "no tea", {"Retry-After": "1"})

        async with client(app) as http:
            response = await http.get("/refused")

        assert (response.status_code, response.text) == (418, "no tea")
        assert response.headers["Retry-After"] == "1"
        assert not [record for record in caplog.records if record.name == composition.__name__]

    def test_refusals_are_counted_by_their_kind(self) -> None:
        """Labels are bounded: what has no name of its own is an error."""
        settings = Settings(max_unauthenticated_per_address=1)
        with TestClient(create_standalone_app(settings)) as client:
            app = client.app
            assert isinstance(app, FastAPI)
            gateway: Gateway = app.state.gateway
            for headers in ({"Authorization": "Basic eA=="}, {"Origin": "https://evil.example"}):
                response = refused(client, headers)
                assert response.text
            with client.websocket_connect("/connection/websocket"):
                refused(client, {})
            value = gateway.metrics.registry.get_sample_value
            counts = {
                result: value("gateway_handshakes_total", {"result": result})
                for result in ("ok", "unauthorized", "forbidden", "rate_limited")
            }

        assert counts == {"ok": 1, "unauthorized": 1, "forbidden": 1, "rate_limited": 1}


def refused(client: TestClient, headers: dict[str, str]) -> httpx2.Response:
    """Return what a handshake is refused with."""
    with (
        pytest.raises(WebSocketDenialResponse) as caught,
        client.websocket_connect("/connection/websocket", headers=headers),
    ):
        pass
    return caught.value


class TestStandalone:
    """One application for any ASGI server."""

    def test_settings_come_from_the_environment(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """As ``uvicorn --factory ws_gateway.app:create_standalone_app`` calls it."""
        monkeypatch.setenv("GATEWAY_MAX_CHANNELS", "7")
        with TestClient(create_standalone_app()) as client:
            app = client.app
            assert isinstance(app, FastAPI)
            gateway: Gateway = app.state.gateway
            limits = gateway.node.session_limits

        assert limits.max_channels == 7
        assert gateway.node.draining

    def test_wrong_setting_stops_it(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """Before anything is served."""
        monkeypatch.setenv("GATEWAY_COLOUR", "red")

        with pytest.raises(ConfigurationError, match="GATEWAY_COLOUR"):
            create_standalone_app()

    def test_insecure_stops_it(self) -> None:
        """Where the other server listens is not known here."""
        with pytest.raises(ConfigurationError, match="GATEWAY_INSECURE: not under"):
            create_standalone_app(Settings(insecure=True))
