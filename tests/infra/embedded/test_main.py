"""The entry point; what it runs is tested in ``test_server`` and in integration."""

from __future__ import annotations

import pytest

from infra.embedded import __main__ as entry, server


def test_the_servers_status_is_the_processs(monkeypatch: pytest.MonkeyPatch) -> None:
    """So that make and others see why it ended."""
    monkeypatch.setattr(server, "main", lambda: 2)

    assert entry.main() == 2


def test_an_interrupted_start_is_silent(
    monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    """Ctrl-C before it serves: the usual status, no traceback."""

    def interrupt() -> int:
        raise KeyboardInterrupt

    monkeypatch.setattr(server, "main", interrupt)

    assert entry.main() == 130
    assert capfd.readouterr().err == ""
