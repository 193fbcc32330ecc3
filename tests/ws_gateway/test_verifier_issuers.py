"""Which issuer judges a token, and that the users of several are told apart."""

from __future__ import annotations

import json

import pytest

from tests.ws_gateway import hmac_backend
from tests.ws_gateway.hmac_backend import SECRET
from tests.ws_gateway.issuer import (
    ISSUER,
    NOW,
    Clock,
    Publisher,
    accepts,
    claims,
    header,
    mint,
    public,
    reason,
    sign,
    without_dots,
)
from ws_gateway.exceptions import RevocationsUnavailable, SessionEnded
from ws_gateway.hmac_tokens import HMACTokens
from ws_gateway.revocations.deny_set import Kind, Revocation
from ws_gateway.revocations.log import RevocationLog
from ws_gateway.verifier import Issuer, Verifier


class TestProfiles:
    """``typ`` and ``kid`` say which profile judges a token, ``alg`` alone never (design)."""

    @pytest.fixture
    def both(self, publisher: Publisher, clock: Clock) -> Verifier:
        """One issuer, and tokens of a shared secret."""
        return Verifier(
            [ISSUER],
            fetch=publisher,
            now=clock,
            monotonic=clock,
            hmac=HMACTokens(SECRET, now=clock),
        )

    async def test_each_judges_its_own(self, both: Verifier) -> None:
        """And says whose user it is."""
        issuers = await both.verify(mint())
        ours = await both.verify(hmac_backend.sign({"sub": "42"}))

        assert (issuers.user, issuers.issuer) == ("alice", ISSUER.issuer)
        assert (ours.user, ours.issuer) == ("42", "")
        assert both.required_scope(issuers) == "connect"
        assert both.required_scope(ours) == ""

    async def test_issuers_profile_is_never_judged_by_the_secret(self, both: Verifier) -> None:
        """A token that says to be an issuer's, signed with the secret."""
        for alg in ("HS256", "ES256"):
            token = hmac_backend.sign(claims(), header=header(alg=alg))
            assert await reason(both, token) in {"alg", "signature"}

    @pytest.mark.parametrize("typ", ["JWT", ...])
    @pytest.mark.parametrize("kid", ["ec", ...])
    async def test_secrets_profile_is_never_judged_by_an_issuers_key(
        self, both: Verifier, typ: object, kid: object
    ) -> None:
        """An issuer's key is no secret, nor its signature an HMAC."""
        forged = sign(header(typ=typ, kid=kid), claims())
        assert await reason(both, forged) == "alg"
        public_key = json.dumps(public("ec")).encode()
        known = {"typ": typ, "kid": kid, "alg": "HS256"}
        forged = hmac_backend.sign(claims(), secret=public_key, header=without_dots(known))
        assert await reason(both, forged) == "signature"

    async def test_no_key_is_fetched_for_the_secrets(
        self, both: Verifier, publisher: Publisher
    ) -> None:
        """An issuer that is away does not matter to them."""
        publisher.error = ConnectionRefusedError()

        await both.verify(hmac_backend.sign({"sub": "42"}))

        assert publisher.fetches == 0

    async def test_without_a_secret_there_is_one_profile(self, verifier: Verifier) -> None:
        """Whatever such a token says."""
        assert await reason(verifier, hmac_backend.sign({"sub": "42"})) == "kid"

    async def test_secret_alone_will_do(self, clock: Clock) -> None:
        """No issuer at all: ready at once."""
        alone = Verifier([], now=clock, hmac=HMACTokens(SECRET, now=clock))

        assert alone.ready
        assert await accepts(alone, hmac_backend.sign({"sub": "42"}))
        assert await reason(alone, mint()) == "alg"


class TestSeveralIssuers:
    """``sub`` is unique within one issuer only."""

    OTHER = Issuer(
        issuer="https://other.example",
        jwks_url="https://other.example/keys",
        audience="gateway",
        user_prefix="other",
        typ="JWT",
        scope="",
    )
    PREFIXED = Issuer(
        issuer=ISSUER.issuer, jwks_url=ISSUER.jwks_url, audience="drawbridge", user_prefix="own"
    )

    @pytest.fixture
    def both(self, clock: Clock) -> Verifier:
        """Two issuers with one key each."""

        async def fetch(url: str) -> bytes:
            kid = "ec" if url == ISSUER.jwks_url else "rsa"
            return json.dumps({"keys": [public(kid)]}).encode()

        return Verifier([self.PREFIXED, self.OTHER], fetch=fetch, now=clock, monotonic=clock)

    def foreign(self, kid: str = "rsa", alg: str = "RS256", **changes: object) -> str:
        """Return a token by the other issuer's habits."""
        payload = claims(iss=self.OTHER.issuer, aud="gateway", **changes)
        return sign(header(alg=alg, kid=kid, typ="JWT"), payload, kid)

    async def test_user_carries_the_prefix(self, both: Verifier) -> None:
        """The same ``sub`` is two users."""
        assert (await both.verify(mint())).user == "own.alice"
        assert (await both.verify(self.foreign())).user == "other.alice"

    async def test_key_counts_for_its_issuer_only(self, both: Verifier) -> None:
        """J13: one tenant cannot speak for another."""
        assert await reason(both, self.foreign(kid="ec", alg="ES256")) == "unknown_kid"

    async def test_profile_is_the_issuers(self, both: Verifier) -> None:
        """Type and audience of the one are not those of the other."""
        assert await reason(both, sign(header(typ="JWT"), claims())) == "typ"
        token = sign(header(alg="RS256", kid="rsa"), claims(iss=self.OTHER.issuer), "rsa")
        assert await reason(both, token) == "typ"

    async def test_other_habits_need_fewer_claims(self, both: Verifier) -> None:
        """``client_id`` and ``scope`` are RFC 9068's, not every provider's."""
        credentials = await both.verify(self.foreign(client_id=..., scope=...))

        assert (credentials.client_id, credentials.scopes) == ("", frozenset())

    async def test_claims_that_are_there_are_still_checked(self, both: Verifier) -> None:
        """Optional does not mean arbitrary."""
        assert await reason(both, self.foreign(client_id=1)) == "client_id"
        assert await reason(both, self.foreign(scope=None)) == "scope"

    async def test_scope_to_connect_is_the_issuers(self, both: Verifier) -> None:
        """The door asks for it; the verifier does not."""
        own = await both.verify(mint(scope="api"))
        foreign = await both.verify(self.foreign(scope=...))

        assert both.required_scope(own) == "connect"
        assert both.required_scope(foreign) == ""


class TestSameSubject:
    """The same ``sub`` at two issuers is two users."""

    A = Issuer(
        issuer="https://a.example",
        jwks_url="https://a.example/k",
        audience="drawbridge",
        user_prefix="a",
    )
    B = Issuer(
        issuer="https://b.example",
        jwks_url="https://b.example/k",
        audience="drawbridge",
        user_prefix="b",
    )

    async def test_users_are_told_apart(self, publisher: Publisher, clock: Clock) -> None:
        """By the prefix; the subject itself is kept for the issuer's log."""
        verifier = Verifier([self.A, self.B], fetch=publisher, now=clock)

        found = [
            await verifier.verify(mint(iss=issuer.issuer, sub=sub))
            for issuer in (self.A, self.B)
            for sub in ("alice", "client:bot", "b.alice")
        ]

        assert [who.user for who in found] == [
            "a.alice",
            "a.client:bot",
            "a.b.alice",
            "b.alice",
            "b.client:bot",
            "b.b.alice",
        ]
        assert [who.subject for who in found] == ["alice", "client:bot", "b.alice"] * 2

    async def test_log_of_one_says_nothing_of_the_other(
        self, publisher: Publisher, clock: Clock
    ) -> None:
        """Names are an issuer's own: of users, sessions, clients and keys."""
        logs = {
            issuer.issuer: RevocationLog(
                issuer.issuer, stale_seconds=10, clock=clock, monotonic=clock
            )
            for issuer in (self.A, self.B)
        }
        verifier = Verifier(
            [self.A, self.B], fetch=publisher, now=clock, monotonic=clock, revocations=logs
        )
        for log in logs.values():
            log.read(clock.now)
        ends = {
            Kind.SUBJECT: "alice",
            Kind.SID: "session-1",
            Kind.CLIENT: "chat",
            Kind.KID: "ec",
            Kind.JTI: "token-1",
        }
        logs[self.A.issuer].add(
            Revocation(kind=kind, value=value, before=NOW, until=NOW + 600)
            for kind, value in ends.items()
        )

        with pytest.raises(SessionEnded):
            await verifier.verify(mint(iss=self.A.issuer))
        assert (await verifier.verify(mint(iss=self.B.issuer))).user == "b.alice"

    async def test_stale_log_of_one_does_not_shut_the_other_out(
        self, publisher: Publisher, clock: Clock
    ) -> None:
        """Each issuer's door is its own."""
        log = RevocationLog(self.A.issuer, stale_seconds=10, clock=clock, monotonic=clock)
        verifier = Verifier(
            [self.A, self.B], fetch=publisher, now=clock, revocations={self.A.issuer: log}
        )

        with pytest.raises(RevocationsUnavailable):
            await verifier.verify(mint(iss=self.A.issuer))
        assert await accepts(verifier, mint(iss=self.B.issuer))
