"""The collectors."""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable
from pathlib import Path

import httpx2
import pytest

from auth_service.app import Service
from auth_service.audit import AuditEvent, record
from auth_service.metrics import Metrics

Login = Callable[..., Awaitable[httpx2.Response]]


def test_two_services_in_one_process_do_not_collide() -> None:
    """Each has its own registry."""
    first, second = Metrics(), Metrics()
    first.logins.labels(result="success").inc()

    assert b'auth_logins_total{result="success"} 1.0' in first.expose()
    assert b'auth_logins_total{result="success"} 1.0' not in second.expose()


def test_the_promised_series_exist() -> None:
    """Dashboards and alerts name these."""
    text = Metrics().expose().decode()

    for name in (
        "auth_http_requests_total",
        "auth_http_request_duration_seconds",
        "auth_logins_total",
        "auth_tokens_issued_total",
        "auth_password_hash_seconds",
        "auth_password_hash_rejected_total",
        "auth_build_info",
    ):
        assert f"# TYPE {name}" in text


def test_several_workers_are_read_from_their_folder(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """With PROMETHEUS_MULTIPROC_DIR the series of all workers come from files, not from memory."""
    metrics = Metrics()
    metrics.logins.labels(result="success").inc()
    monkeypatch.setenv("PROMETHEUS_MULTIPROC_DIR", str(tmp_path))

    assert metrics.expose() == b""


async def test_what_happens_is_counted(
    service: Service, login: Login, http: httpx2.AsyncClient
) -> None:
    """Requests by grant and outcome, committed audit events, keys by state."""
    assert (await login()).status_code == 200
    assert (await login(password="wrong")).status_code == 400
    assert (await http.post("/token", data={"grant_type": "magic"})).status_code == 400

    text = service.metrics.expose().decode()

    for line in (
        'auth_token_requests_total{grant_type="password",outcome="success"} 1.0',
        'auth_token_requests_total{grant_type="password",outcome="invalid_grant"} 1.0',
        'auth_token_requests_total{grant_type="other",outcome="unsupported_grant_type"} 1.0',
        'auth_audit_events_total{event="session_started",outcome="success"} 1.0',
        'auth_signing_keys{state="active"} 1.0',
        'auth_signing_keys{state="pending"} 0.0',
        "auth_signing_key_activated_timestamp_seconds 1.9e+09",
        "auth_password_hash_wait_seconds_count 3.0",
    ):
        assert line in text.splitlines()


async def test_an_event_that_was_rolled_back_is_not_counted(service: Service) -> None:
    """It did not happen."""

    async def fail() -> None:
        async with service.database.write() as connection:
            await record(connection, AuditEvent(event="user_added"), now=0)
            raise RuntimeError

    with pytest.raises(RuntimeError):
        await fail()
    await service.administration.enable_client("chat")

    text = service.metrics.expose().decode()
    assert 'auth_audit_events_total{event="client_enabled",outcome="success"} 1.0' in text
    assert "user_added" not in text


def test_the_page_lists_every_series() -> None:
    """Name and type, in docs/auth.md."""
    page = (Path(__file__).parents[2] / "docs" / "auth.md").read_text("utf-8")
    listed = dict(re.findall(r"^\| `(auth_\w+)` \| (\w+) \|", page, re.MULTILINE))
    registered = {
        family.name + ("_total" if family.type == "counter" else ""): family.type
        for family in Metrics().registry.collect()
    }

    assert listed == registered
