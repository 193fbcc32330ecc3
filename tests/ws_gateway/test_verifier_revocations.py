"""A token that was revoked is refused, wherever the judgement on it comes from."""

from __future__ import annotations

from typing import Any

import pytest

from tests.ws_gateway.issuer import ISSUER, NOW, Clock, Publisher, accepts, mint, reason
from ws_gateway.exceptions import (
    InvalidToken,
    RevocationsUnavailable,
    SessionEnded,
    TokenExpired,
    TokenRevoked,
)
from ws_gateway.revocations.deny_set import Kind, Revocation
from ws_gateway.revocations.log import RevocationLog
from ws_gateway.verifier import Issuer, Verifier


class TestRevocation:
    """J24: a token that was revoked is refused, wherever the judgement on it comes from."""

    @pytest.fixture
    def log(self, clock: Clock) -> RevocationLog:
        """The issuer's log, which was read just now."""
        log = RevocationLog(ISSUER.issuer, stale_seconds=10, clock=clock, monotonic=clock)
        log.read(clock.now)
        return log

    @pytest.fixture
    def verifier(self, publisher: Publisher, clock: Clock, log: RevocationLog) -> Verifier:
        """One issuer whose log is followed."""
        return Verifier(
            [ISSUER],
            fetch=publisher,
            now=clock,
            monotonic=clock,
            revocations={ISSUER.issuer: log},
        )

    @pytest.mark.parametrize("cached", [False, True])
    @pytest.mark.parametrize(
        ("kind", "value", "refusal"),
        [
            (Kind.JTI, "token-1", TokenRevoked),
            (Kind.SID, "session-1", SessionEnded),
            (Kind.SUBJECT, "alice", SessionEnded),
            (Kind.CLIENT, "chat", SessionEnded),
            (Kind.KID, "ec", TokenRevoked),
        ],
    )
    async def test_revoked_token_is_refused(
        self,
        *,
        verifier: Verifier,
        log: RevocationLog,
        cached: bool,
        kind: Kind,
        value: str,
        refusal: type[InvalidToken],
    ) -> None:
        """Also one that was verified before."""
        if cached:
            await verifier.verify(mint())
        log.add([Revocation(kind=kind, value=value, before=NOW, until=NOW + 600)])

        for _ in range(2):
            with pytest.raises(refusal):
                await verifier.verify(mint())

    async def test_token_of_the_next_second_is_good(
        self, verifier: Verifier, log: RevocationLog, clock: Clock
    ) -> None:
        """A log-out everywhere, and a log-in after it."""
        log.add([Revocation(kind=Kind.SUBJECT, value="alice", before=NOW, until=NOW + 600)])
        clock.now += 1

        assert await accepts(verifier, mint(iat=NOW + 1, exp=NOW + 600))

    async def test_revocation_while_the_key_is_fetched_counts(
        self, verifier: Verifier, log: RevocationLog, publisher: Publisher
    ) -> None:
        """The deny set is asked last, after everything that waits."""
        entry = Revocation(kind=Kind.SID, value="session-1", before=0, until=NOW + 600)
        answer = publisher.__call__

        async def fetch(url: str) -> bytes:
            log.add([entry])
            return await answer(url)

        slow = Verifier(
            [ISSUER],
            fetch=fetch,
            now=verifier._now,
            revocations={ISSUER.issuer: log},
        )

        with pytest.raises(SessionEnded):
            await slow.verify(mint())

    async def test_nobody_is_judged_by_a_log_that_was_not_read_for_long(
        self, verifier: Verifier, clock: Clock
    ) -> None:
        """Promise 2: neither a new token nor a known one."""
        await verifier.verify(mint())
        clock.now += 11

        for token in (mint(), mint(jti="token-2")):
            with pytest.raises(RevocationsUnavailable):
                await verifier.verify(token)

    async def test_bad_token_is_bad_without_the_log(self, verifier: Verifier, clock: Clock) -> None:
        """What can be said is said."""
        clock.now += 11

        with pytest.raises(TokenExpired):
            await verifier.verify(mint(exp=NOW + 1))
        assert await reason(verifier, mint(aud="other")) == "aud"

    async def test_issuer_without_a_log_is_judged_by_expiry_alone(
        self, publisher: Publisher, clock: Clock, log: RevocationLog
    ) -> None:
        """Also one whose entry names a log that nobody follows, in an application of one's own."""
        log.add([Revocation(kind=Kind.SID, value="session-1", before=0, until=NOW + 600)])
        alone = Verifier(
            [Issuer(**{**_fields(ISSUER), "revocations": "redis"})], fetch=publisher, now=clock
        )

        who = await alone.verify(mint())

        assert alone.revoked(who) is None

    async def test_verified_credentials_can_be_asked_about(
        self, verifier: Verifier, log: RevocationLog
    ) -> None:
        """For connections that are open, whether or not the log can be read."""
        who = await verifier.verify(mint())
        assert verifier.revoked(who) is None

        log.add([Revocation(kind=Kind.JTI, value="token-1", before=0, until=NOW + 600)])

        assert verifier.revoked(who) is Kind.JTI


def _fields(issuer: Issuer) -> dict[str, Any]:
    return {name: getattr(issuer, name) for name in issuer.__slots__}
