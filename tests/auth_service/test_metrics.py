"""The collectors."""

from __future__ import annotations

from pathlib import Path

import pytest

from auth_service.metrics import Metrics


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
