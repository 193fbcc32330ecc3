"""The front's configuration, as text; what nginx makes of it is tested in tests/deploy."""

from __future__ import annotations

import dataclasses
import re
from pathlib import Path

import pytest

from infra.stack import nginx

PLACE = nginx.Place(
    tls=["127.0.0.1:8443", "[::1]:8443"],
    plain=["127.0.0.1:8000"],
    status=["127.0.0.1:9193"],
    auth=["127.0.0.1:8001"],
    gateways=["127.0.0.1:8011", "127.0.0.1:8012"],
    certificate="server.pem",
    key="server.key",
    workers=2,
    open_files=1024,
    linger_seconds=60,
    logs="logs",
    run="run",
)


def test_every_included_file_is_there() -> None:
    """And every generated one is included, so that none is written for nothing."""
    files = nginx.render(PLACE)
    included = {
        name
        for text in files.values()
        for name in re.findall(r"^\s*include ([^*;]+);", text, re.MULTILINE)
    }

    assert included <= files.keys()
    assert {name for name in files if not name.startswith("conf.d")} - included == {"nginx.conf"}


def test_the_generated_files_hold_what_differs() -> None:
    """Addresses, limits and directories; the static part has no port at all."""
    files = nginx.generated(PLACE)

    assert files["ws-gateway.conf"].count("server 127.0.0.1:80") == 2
    assert "listen [::1]:8443 ssl backlog=4096;\n" in files["listen.conf"]
    assert "listen 127.0.0.1:8000 backlog=4096;\n" in files["listen.conf"]
    assert "user " not in files["main.conf"]
    assert files["events.conf"] == "worker_connections 512;\n"
    static = [
        text for name, text in nginx.render(PLACE).items() if not name.startswith("generated")
    ]
    assert not re.search(
        r"^\s*(listen|server \S+:\d+|ssl_certificate)\b", "".join(static), re.MULTILINE
    )


def test_limits_can_be_lifted() -> None:
    """For load tests, which all come from one address."""
    lifted = nginx.generated(dataclasses.replace(PLACE, limits=None))
    usual = nginx.generated(PLACE)

    for name in ("limits.conf", "limit-token.conf", "limit-handshake.conf"):
        assert "limit_" in usual[name]
        assert "limit_" not in lifted[name]


@pytest.mark.parametrize(("ping", "seconds"), [(25, 75), (1, 75), (60, 180)])
def test_a_socket_may_be_silent_for_three_pings(ping: float, seconds: int) -> None:
    """However rare they are."""
    assert nginx.silence(ping) == seconds


def test_writing_replaces_what_was_there(tmp_path: Path) -> None:
    """A location that is gone from the source is gone; logs and the like stay."""
    for name in ("conf.d/old.conf", "generated/old.conf", "nginx.pid"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text("old")
    files = nginx.render(PLACE)

    nginx.write(files, tmp_path)

    written = {
        str(path.relative_to(tmp_path)): path.read_text()
        for path in tmp_path.rglob("*")
        if path.is_file()
    }
    assert written == files | {"nginx.pid": "old"}


def test_the_digest_is_of_all_files() -> None:
    """A reload is owed for any difference, and for no other reason."""
    files = nginx.render(PLACE)
    fewer = nginx.render(dataclasses.replace(PLACE, gateways=["127.0.0.1:8011"]))

    assert nginx.digest(files) == nginx.digest(dict(reversed(files.items())))
    assert nginx.digest(files) != nginx.digest(fewer)


def test_names_can_be_asked_for_again_and_again() -> None:
    """By versions of nginx that know how; the others are not told of it."""
    usual = nginx.generated(PLACE)["ws-gateway.conf"]
    asked = nginx.generated(dataclasses.replace(PLACE, gateways=["pods:8080"], resolver="dns.test"))

    assert "resolve" not in usual
    assert "resolver dns.test valid=5s;\n" in asked["ws-gateway.conf"]
    assert "server pods:8080 resolve max_fails=1 fail_timeout=2s;\n" in asked["ws-gateway.conf"]
