"""The embedded defaults, and that the caller's settings win."""

from __future__ import annotations

import pytest

from infra.embedded import loopback
from infra.embedded.local_directory import LocalDirectory
from infra.embedded.settings import (
    Origin,
    auth_settings,
    front_addresses,
    gateway_settings,
    with_revocations_key,
)
from ws_gateway.exceptions import ConfigurationError

LOCAL = LocalDirectory("somewhere")
ORIGIN = Origin(8443)


def test_the_front_is_on_both_loopbacks(monkeypatch: pytest.MonkeyPatch) -> None:
    """IPv6's only where there is one."""
    monkeypatch.setattr(loopback, "has_ipv6", lambda: True)
    assert front_addresses({}) == [("127.0.0.1", 8443), ("::1", 8443)]

    monkeypatch.setattr(loopback, "has_ipv6", lambda: False)
    assert front_addresses({"DRAWBRIDGE_FRONT": ""}) == [("127.0.0.1", 8443)]


def test_the_front_may_be_elsewhere() -> None:
    """As the other listeners' settings are written."""
    given = {"DRAWBRIDGE_FRONT": "127.0.0.1:1, [::1]:2"}
    assert list(front_addresses(given)) == [("127.0.0.1", 1), ("::1", 2)]

    with pytest.raises(ConfigurationError, match=r"^DRAWBRIDGE_FRONT: must be host:port"):
        front_addresses({"DRAWBRIDGE_FRONT": "8443"})


@pytest.mark.parametrize(
    ("port", "text"), [(8443, "https://localhost:8443"), (443, "https://localhost")]
)
def test_the_origin_is_spelled_as_browsers_do(port: int, text: str) -> None:
    """The scheme's own port is left out (RFC 6454 section 6.2)."""
    assert str(Origin(port)) == text


def test_the_gateway_trusts_the_auth_service_beside_it() -> None:
    """Issuer, audience and key set follow the auth service's settings and ports."""
    auth = auth_settings({"AUTH_AUDIENCE": "mine"}, local=LOCAL, origin=ORIGIN)
    gateway = gateway_settings(
        with_revocations_key({}),
        auth=auth,
        auth_url="http://127.0.0.1:1",
        revocations="http://127.0.0.1:2/revocations",
        origin=ORIGIN,
    )

    (issuer,) = gateway.issuers
    assert (issuer.issuer, issuer.audience) == ("https://localhost:8443", "mine")
    assert issuer.jwks_url == "http://127.0.0.1:1/.well-known/jwks.json"
    assert issuer.revocations == "http://127.0.0.1:2/revocations"
    assert gateway.origins == ("https://localhost:8443",)
    assert auth.origins == ("https://localhost:8443",)
    assert gateway.log_level == "WARNING"


def test_everything_is_kept_in_the_local_directory() -> None:
    """Database and keys, and a client for requests that name none."""
    auth = auth_settings({}, local=LOCAL, origin=ORIGIN)

    assert auth.database_url == "sqlite+aiosqlite:///somewhere/auth.db"
    assert str(auth.keys_dir) == "somewhere/keys"
    assert auth.default_client == "chat"


def test_the_callers_settings_win() -> None:
    """All of ``AUTH_*`` and ``GATEWAY_*``, the empty ones too."""
    environment = {
        "AUTH_ISSUER": "https://issuer.example",
        "AUTH_DEFAULT_CLIENT": "",
        "GATEWAY_ORIGINS": "https://page.example",
        "GATEWAY_HOOKS": "",
        "GATEWAY_LOG_LEVEL": "DEBUG",
    }
    auth = auth_settings(environment, local=LOCAL, origin=ORIGIN)
    gateway = gateway_settings(
        with_revocations_key(environment),
        auth=auth,
        auth_url="http://x",
        revocations="http://x/revocations",
        origin=ORIGIN,
    )

    assert auth.default_client == ""
    assert gateway.issuers[0].issuer == "https://issuer.example"
    assert gateway.origins == ("https://page.example",)
    assert (gateway.hooks, gateway.log_level) == ("", "DEBUG")


def test_both_sides_get_one_key_that_is_made_for_the_start() -> None:
    """Nobody else on the machine knows it; an empty one counts as none."""
    first, second = (with_revocations_key({"AUTH_REVOCATIONS_KEY": ""}) for _ in range(2))

    assert len(first["AUTH_REVOCATIONS_KEY"]) >= 32
    assert first["AUTH_REVOCATIONS_KEY"] == first["GATEWAY_REVOCATIONS_KEY"]
    assert first != second


def test_the_callers_key_is_both_sides_key() -> None:
    """Also one for each, which is his affair, as files are."""
    given = with_revocations_key({"AUTH_REVOCATIONS_KEY": "a"})
    assert given["GATEWAY_REVOCATIONS_KEY"] == "a"

    each = {"AUTH_REVOCATIONS_KEY": "a", "GATEWAY_REVOCATIONS_KEY": "b"}
    assert with_revocations_key(each) == each
    files = {"AUTH_REVOCATIONS_KEY_FILE": "x", "HOME": "/"}
    assert with_revocations_key(files) == files


def test_production_is_refused() -> None:
    """There are demo users, whose passwords are in a file."""
    with pytest.raises(ConfigurationError, match=r"^AUTH_ENVIRONMENT: "):
        auth_settings({"AUTH_ENVIRONMENT": "production"}, local=LOCAL, origin=ORIGIN)
