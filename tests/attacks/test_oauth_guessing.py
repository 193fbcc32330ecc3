"""O7 to O9: floods and guessing, against a service with its limits and two workers."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor

import httpx2
import pytest

from tests.attacks.running import PASSWORD, Services
from tests.attacks.token_requests import once
from tests.postgres_server import PostgresServer

pytestmark = pytest.mark.integration


@pytest.fixture(scope="module")
def limited(
    tmp_path_factory: pytest.TempPathFactory, postgres: PostgresServer
) -> Iterator[Services]:
    """Two workers on PostgreSQL that believe the proxy 127.0.0.1; few attempts are allowed."""
    directory = tmp_path_factory.mktemp("limited")
    metrics = directory / "metrics"
    metrics.mkdir()
    settings = {
        "AUTH_TRUSTED_PROXIES": "127.0.0.1",
        "AUTH_LIMIT_ADDRESS": "30",
        "AUTH_LIMIT_ACCOUNT": "30",
        "AUTH_LOCKOUT_FAILURES": "5",
        "PROMETHEUS_MULTIPROC_DIR": str(metrics),
    }
    running = Services(
        directory, postgres.url(postgres.create()), settings, auth_arguments=("--workers", "2")
    ).start()
    running.populate()
    yield running
    running.stop()


def from_address(
    services: Services, address: str, name: str, password: str, forwarded: str = ""
) -> httpx2.Response:
    """Log in through the proxy, from an address of its telling."""
    form = {"grant_type": "password", "client_id": "app", "username": name, "password": password}
    headers = {"X-Forwarded-For": f"{forwarded}{address}"}
    # A connection each, so that both workers get their share.
    return once(services, form, headers)


def test_o7_a_flood_is_answered_one_way_or_another(limited: Services) -> None:
    """Logged in, or 503 and 429 with a time to come back; the probes go on."""
    with ThreadPoolExecutor(50) as pool:
        answers = list(
            pool.map(
                lambda number: from_address(limited, f"192.0.2.{number % 250}", "bob", "wrong"),
                range(200),
            )
        )

    assert {answer.status_code for answer in answers} <= {400, 429, 503}
    assert any(answer.status_code == httpx2.codes.TOO_MANY_REQUESTS for answer in answers)
    assert all(
        int(answer.headers["Retry-After"]) >= 1
        for answer in answers
        if answer.status_code in {429, 503}
    )
    assert limited.auth.internal.get("/health/ready").status_code == httpx2.codes.OK
    assert limited.http.get("/.well-known/jwks.json").status_code == httpx2.codes.OK


def guesses(
    services: Services, addresses: Callable[[int], str], names: Callable[[int], str], count: int
) -> list[int]:
    """Guess passwords; returns the statuses."""
    return [
        from_address(services, addresses(number), names(number), "wrong").status_code
        for number in range(count)
    ]


def test_o8_one_account_from_one_address(limited: Services) -> None:
    """Throttled, also for a name that nobody has, and summed over the workers."""
    for name in ("alice", "nobody-1"):
        statuses = guesses(limited, lambda _: "198.51.100.1", lambda _, name=name: name, 12)  # type: ignore[misc]
        assert statuses[:5] == [400] * 5
        assert set(statuses[6:]) <= {429, 400}
        assert 429 in statuses


def test_o8_one_account_from_many_addresses(limited: Services) -> None:
    """The account has a counter of its own."""
    statuses = guesses(limited, lambda number: f"203.0.113.{number}", lambda _: "nobody-2", 12)

    assert 429 in statuses


def test_o8_one_address_over_many_accounts(limited: Services) -> None:
    """Spraying: the address has one too."""
    statuses = guesses(limited, lambda _: "198.51.100.2", lambda number: f"spray-{number}", 45)

    assert 429 in statuses


def test_o8_an_address_cannot_be_made_up(limited: Services) -> None:
    """What stands before the proxy's own entry is the client's word."""
    statuses = [
        from_address(
            limited, "198.51.100.3", f"spoof-{number}", "wrong", forwarded=f"10.0.0.{number}, "
        ).status_code
        for number in range(45)
    ]

    assert 429 in statuses


def test_o9_a_victim_still_gets_in(limited: Services) -> None:
    """Who locks an account from elsewhere does not lock its user out, nor ends a session."""
    home = "192.0.2.77"
    first = from_address(limited, home, "carol", PASSWORD)
    if first.status_code == httpx2.codes.BAD_REQUEST:
        limited.order("users", "add", "carol", "--password-stdin", given=PASSWORD + "\n")
        first = from_address(limited, home, "carol", PASSWORD)
    assert first.status_code == httpx2.codes.OK

    statuses = guesses(limited, lambda number: f"203.0.113.{100 + number}", lambda _: "carol", 12)
    assert 429 in statuses

    assert from_address(limited, home, "carol", PASSWORD).status_code == httpx2.codes.OK
    assert limited.refresh(first.json()["refresh_token"]).status_code == httpx2.codes.OK


def test_o9_a_right_password_during_a_lock_says_nothing(limited: Services) -> None:
    """From a strange address it is answered as a wrong one."""
    guesses(limited, lambda _: "198.51.100.9", lambda _: "bob", 12)

    right = from_address(limited, "198.51.100.9", "bob", PASSWORD)
    wrong = from_address(limited, "198.51.100.9", "bob", "wrong")

    assert right.status_code == wrong.status_code == httpx2.codes.TOO_MANY_REQUESTS
    assert right.text == wrong.text
