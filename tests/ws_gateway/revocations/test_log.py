"""What is known of a log, when it counts as known, and what follows for a token."""

from __future__ import annotations

import logging
from typing import Any

import pytest

from tests.ws_gateway.revocations.conftest import NOW, STALE_SECONDS, Clock, entry
from ws_gateway.credentials import Credentials
from ws_gateway.exceptions import RevocationsUnavailable, SessionEnded, TokenRevoked
from ws_gateway.revocations.deny_set import MARGIN_SECONDS, Kind, Revocation, parse
from ws_gateway.revocations.log import RevocationLog


def credentials(**changes: Any) -> Credentials:  # noqa: ANN401
    """Return what a token says."""
    said: dict[str, Any] = {
        "user": "alice",
        "subject": "alice",
        "client_id": "chat",
        "scopes": frozenset({"connect"}),
        "expires_at": NOW + 500.0,
        "issued_at": NOW,
        "jti": "token-1",
        "sid": "session-1",
        "kid": "key-1",
        "issuer": "https://a.example",
    }
    return Credentials(**(said | changes))


class TestCheck:
    """The judgement on a token that is good otherwise."""

    @pytest.mark.parametrize(
        ("kind", "value", "refusal"),
        [
            ("jti", "token-1", TokenRevoked),
            ("kid", "key-1", TokenRevoked),
            ("sid", "session-1", SessionEnded),
            ("sub", "alice", SessionEnded),
            ("client", "chat", SessionEnded),
        ],
    )
    def test_denied_token_is_refused_by_its_kind(
        self, log: RevocationLog, kind: str, value: str, refusal: type[Exception]
    ) -> None:
        """As the contract says; also while the log cannot be read: what is known stays known."""
        log.add([parse(entry(kind, value, before=NOW))])

        with pytest.raises(refusal):
            log.check(credentials())

    def test_good_token_passes_while_the_log_is_fresh(
        self, log: RevocationLog, clock: Clock
    ) -> None:
        """Up to the very second."""
        log.read(clock.now)
        clock.now += STALE_SECONDS

        log.check(credentials())

        clock.now += 0.1
        with pytest.raises(RevocationsUnavailable):
            log.check(credentials())

    def test_nothing_is_judged_before_the_log_was_read(self, log: RevocationLog) -> None:
        """Promise 2: a gateway reads all before it lets anybody in."""
        assert not log.ready
        with pytest.raises(RevocationsUnavailable):
            log.check(credentials())

    def test_time_of_reading_never_goes_back(self, log: RevocationLog, clock: Clock) -> None:
        """A late answer to an early question takes nothing back."""
        log.read(clock.now)
        log.read(clock.now - 5)

        assert log.lag_seconds == 0


class TestAdd:
    """What is new is told once, after it is denied."""

    def test_listener_sees_a_deny_set_that_knows(self, log: RevocationLog) -> None:
        """Deny first, then close: who comes in between is refused."""
        seen: list[tuple[int, Kind | None]] = []
        log.on_revoked = lambda new: seen.append((len(new), log.find(credentials())))

        log.add([parse(entry("sid", "session-1")), parse(entry("sid", "session-2"))])

        assert seen == [(2, Kind.SID)]

    def test_only_news_are_told(self, log: RevocationLog, told: list[Revocation]) -> None:
        """After a second reading nobody is looked for again."""
        first, second = parse(entry("sid", "1")), parse(entry("sid", "2"))
        log.add([first])
        log.add([first, second])
        log.add([first, second])

        assert told == [first, second]
        assert log.entries == 5

    def test_garbage_is_counted_and_passed_over(
        self, log: RevocationLog, told: list[Revocation]
    ) -> None:
        """The entries around it count."""
        log.add([None, parse(entry("sid", "session-1")), parse(entry("nonsense"))])

        assert (log.entries, log.malformed, len(told)) == (3, 2, 1)

    def test_rules_are_forgotten_when_no_token_is_left(
        self, log: RevocationLog, clock: Clock
    ) -> None:
        """Promise: no map grows without bound."""
        log.add(parse(entry("sid", str(number))) for number in range(1000))
        assert len(log) == 1000

        clock.now = entry()["until"] + MARGIN_SECONDS
        log.read(clock.now)

        assert len(log) == 0


class TestState:
    """Readable, fresh and ready."""

    def test_outage_ends_readiness_when_it_has_lasted(
        self, log: RevocationLog, clock: Clock
    ) -> None:
        """A moment without the log shuts no door; the metric shows it at once."""
        log.read(clock.now)
        log.lost("away")

        assert (log.readable, log.ready) == (False, True)
        clock.now += STALE_SECONDS + 1
        assert not log.ready
        assert log.lag_seconds == STALE_SECONDS + 1

    def test_changed_log_ends_readiness_until_it_was_read_as_a_whole(
        self, log: RevocationLog, clock: Clock
    ) -> None:
        """Promise 2: it reads all before it is ready; what it knew it still knows."""
        log.add([parse(entry("sid", "session-1"))])
        log.read(clock.now)

        log.lost("replaced", complete=False)
        log.lost("away")

        assert (log.ready, log.fresh, len(log)) == (False, True, 1)
        log.read(clock.now)
        assert log.ready

    def test_outage_is_one_line_and_its_end_another(
        self, log: RevocationLog, clock: Clock, caplog: pytest.LogCaptureFixture
    ) -> None:
        """Also one from the very start."""
        caplog.set_level(logging.INFO)
        for _ in range(2):
            for _ in range(3):
                log.lost("away")
            for _ in range(3):
                log.read(clock.now)

        assert [record.message for record in caplog.records] == [
            "revocation log is not read",
            "revocation log is read",
        ] * 2
        assert vars(caplog.records[0])["reason"] == "away"

    def test_lag_counts_from_the_start_at_first(self, log: RevocationLog, clock: Clock) -> None:
        """A number that an alert can be made of, not infinity."""
        clock.now += 3

        assert log.lag_seconds == 3
