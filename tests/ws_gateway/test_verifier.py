"""Which access tokens are accepted, and that every other string is one refusal.

The J numbers are groups of attacks on JWTs: each is a list of tokens that must not be accepted.
The other groups are in the parts beside this one, by what they turn on.
"""

from __future__ import annotations

import asyncio
import json
import unicodedata
from typing import Any

import pytest
from hypothesis import given, settings, strategies as st

from tests.ws_gateway.issuer import (
    ISSUER,
    NOW,
    Clock,
    Publisher,
    accepts,
    claims,
    decode,
    header,
    mint,
    reason,
    sign,
)
from ws_gateway.credentials import Credentials
from ws_gateway.exceptions import ConfigurationError, InvalidToken, TokenExpired
from ws_gateway.verifier import Issuer, Verifier


async def test_every_judgement_is_timed(publisher: Publisher, clock: Clock) -> None:
    """A refusal costs as much as a yes."""
    seconds: list[float] = []
    verifier = Verifier([ISSUER], fetch=publisher, now=clock, observe=seconds.append)

    await reason(verifier, "x.y.z")
    await reason(verifier, "ä")

    assert len(seconds) == 2
    assert all(value >= 0 for value in seconds)


class TestGoodToken:
    """RFC 9068 section 2."""

    async def test_credentials_say_what_the_token_says(self, verifier: Verifier) -> None:
        """Claim by claim."""
        assert await verifier.verify(mint()) == Credentials(
            user="alice",
            client_id="chat",
            scopes=frozenset({"connect", "api"}),
            expires_at=NOW + 600,
            jti="token-1",
            sid="session-1",
            issuer=ISSUER.issuer,
            subject="alice",
            issued_at=NOW,
            kid="ec",
        )

    async def test_rsa_is_accepted_too(self, verifier: Verifier) -> None:
        """RFC 9068 section 2.1 obliges to it."""
        token = sign(header(alg="RS256", kid="rsa"), claims(), "rsa")

        assert (await verifier.verify(token)).user == "alice"

    @pytest.mark.parametrize("typ", ["AT+JWT", "application/at+jwt", "Application/At+Jwt"])
    async def test_type_is_a_media_type(self, verifier: Verifier, typ: str) -> None:
        """J8: case does not matter, ``application/`` may stand in front."""
        assert await accepts(verifier, sign(header(typ=typ), claims()))

    @pytest.mark.parametrize("aud", ["drawbridge", ["x", "drawbridge"]])
    async def test_audience_is_a_name_or_a_list(self, verifier: Verifier, aud: object) -> None:
        """J12: RFC 7519 section 4.1.3."""
        assert await accepts(verifier, mint(aud=aud))

    async def test_session_is_optional(self, verifier: Verifier) -> None:
        """Other issuers have none."""
        assert (await verifier.verify(mint(sid=...))).sid == ""

    async def test_unknown_claims_are_passed_over(self, verifier: Verifier) -> None:
        """RFC 7519 section 4."""
        assert await accepts(verifier, mint(auth_time=NOW, extra={"a": [1.5, None]}))

    @pytest.mark.parametrize(
        "sub",
        [
            "a" * 255,
            "\u202eevil",
            "аlice",  # noqa: RUF001  # the first letter is Cyrillic
            unicodedata.normalize("NFC", "é"),
            unicodedata.normalize("NFD", "é"),
        ],
    )
    async def test_subject_stays_as_it_is(self, verifier: Verifier, sub: str) -> None:
        """J14: distinct code points are distinct users."""
        assert (await verifier.verify(mint(sub=sub))).user == sub

    async def test_info_is_compact_json(self, verifier: Verifier) -> None:
        """It is copied into publications."""
        credentials = await verifier.verify(mint(info={"name": "Zoë", "n": [1, None]}))

        assert credentials.info == '{"name":"Zoë","n":[1,null]}'.encode()

    async def test_channels_are_kept_in_order_once_each(self, verifier: Verifier) -> None:
        """Server-side subscriptions."""
        credentials = await verifier.verify(mint(channels=["b", "a", "b"]))

        assert credentials.channels == ("b", "a")

    async def test_leeway_forgives_the_clock(self, verifier: Verifier, clock: Clock) -> None:
        """J10 and J11: five seconds either way."""
        assert await accepts(verifier, mint(iat=NOW + 5, nbf=NOW + 5))
        clock.now = NOW + 604.9
        assert await accepts(verifier, mint())


class TestText:
    """J18, J19, J20, J22: strings that are no token in its one spelling."""

    async def test_spelling_must_be_canonical(self, verifier: Verifier) -> None:
        """J18: a deny list or a cache would otherwise miss the same token spelt differently."""
        token = mint(jti="x" * 10)
        spare = next(
            f"{token[:-1]}{last}"
            for last in "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
            if last != token[-1]
            and decode(token.rpartition(".")[2]) == decode(f"{token[:-1]}{last}".rpartition(".")[2])
        )
        head, payload, signature = token.split(".")
        spellings = [
            *(spare, token + "=", token + "==", token + " ", token + "\n", token + "\0"),
            *(token + "!!!!", " " + token, f"{head} .{payload}.{signature}"),
            f"{head}=.{payload}.{signature}",
            f"{head}.{payload}.{signature[:5]}\n{signature[5:]}",
            f"{head}.{payload}.+/{signature[2:]}",
        ]

        assert await accepts(verifier, token)
        for spelling in spellings:
            assert await reason(verifier, spelling) == "malformed"

    async def test_other_serialisations_are_refused(self, verifier: Verifier) -> None:
        """J19: segments, JWE, JSON, a scheme in front."""
        token = mint()
        head, payload, signature = token.split(".")
        flattened = {"payload": payload, "protected": head, "signature": signature}

        for other in (
            *("", ".", "..", "...", f"{head}.{payload}", f"{head}.{payload}.", f"{token}.{head}"),
            *(f"{token}.{head}.{payload}", f"Bearer {token}", json.dumps(flattened)),
            *(f".{payload}.{signature}", f"{head}..{signature}"),
        ):
            assert await reason(verifier, other) == "malformed"

    @pytest.mark.parametrize("depth", [700, 1000, 1400, 20_000])
    async def test_nesting_is_one_refusal(self, verifier: Verifier, depth: int) -> None:
        """J20: python-jose raises RecursionError."""
        nest = "[" * depth + "]" * depth

        assert await reason(verifier, sign(nest, claims())) == "malformed"
        assert await reason(verifier, sign(header(), nest)) == "malformed"

    async def test_error_inside_is_one_refusal(
        self, verifier: Verifier, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """Whatever a library or we get wrong, nothing is accepted and nothing leaks."""

        def fail(*_: object) -> None:
            raise RecursionError

        monkeypatch.setattr("ws_gateway.verifier.read_text", fail)

        assert await reason(verifier, mint()) == "malformed"

    async def test_long_text_is_not_parsed(
        self, verifier: Verifier, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """J20 and J21: beyond 4096 characters not even the digest is taken."""
        monkeypatch.setattr("ws_gateway.verifier.hashlib", None)
        monkeypatch.setattr("ws_gateway.verifier.parse", None)

        for length in (4097, 1_000_000, 3_000_000):
            assert await reason(verifier, "a" * length) == "malformed"

    async def test_token_of_the_greatest_length(self, verifier: Verifier) -> None:
        """The limit itself is still a token."""
        token = mint()
        for filling in range(4000):
            token = mint(extra="x" * (2600 + filling))
            if len(token) >= 4095:
                break

        assert len(token) <= 4096
        assert await accepts(verifier, token)

    @pytest.mark.parametrize("text", ["\ud800", "a.b.\udfff", "é.é.é", "\0", "a\0.b.c"])
    async def test_other_characters_are_refused(self, verifier: Verifier, text: str) -> None:
        """J22: surrogates, Latin-1, NUL."""
        assert await reason(verifier, text) == "malformed"

    @pytest.mark.parametrize("value", [None, b"a.b.c", 7, ["a"]])
    async def test_other_objects_are_refused(self, verifier: Verifier, value: Any) -> None:  # noqa: ANN401
        """What a decoded command held instead of text."""
        assert await reason(verifier, value) == "malformed"


class TestMemory:
    """The bounded memory of verified tokens."""

    async def test_second_look_verifies_no_signature(
        self, verifier: Verifier, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """Nor parses anything."""
        token = mint()
        first = await verifier.verify(token)
        monkeypatch.setattr("ws_gateway.verifier.parse", None)

        assert await verifier.verify(token) is first

    async def test_it_does_not_suspend(self, verifier: Verifier) -> None:
        """Neither for a known token nor for a new one of a known key."""
        await verifier.load_keys()

        for _ in range(2):
            with pytest.raises(StopIteration) as done:
                verifier.verify(mint()).send(None)
            assert isinstance(done.value.value, Credentials)

    async def test_remembered_token_expires(self, verifier: Verifier, clock: Clock) -> None:
        """At the same instant as any other."""
        token = mint()
        await verifier.verify(token)
        clock.now = NOW + 605

        with pytest.raises(TokenExpired):
            await verifier.verify(token)
        assert not verifier._verified

    async def test_it_says_what_it_has_seen(self, verifier: Verifier, clock: Clock) -> None:
        """Until the token expires, and never of one that was refused, or cannot be one."""
        token, refused = mint(), mint(aud="other")
        before = verifier.has_seen(token)
        await verifier.verify(token)
        await reason(verifier, refused)
        after = [verifier.has_seen(each) for each in (token, refused, "\u00e9", "x" * 10_000)]
        clock.now = NOW + 600

        assert (before, after) == (False, [True, False, False, False])
        assert not verifier.has_seen(token)

    async def test_refusals_are_not_remembered(self, verifier: Verifier) -> None:
        """An attacker has any number of bad tokens."""
        for number in range(10):
            await reason(verifier, mint(aud=str(number)))

        assert not verifier._verified

    async def test_oldest_token_gives_way(self, publisher: Publisher, clock: Clock) -> None:
        """The memory has a bound, and forgetting costs a verification only."""
        verifier = Verifier([ISSUER], fetch=publisher, now=clock, monotonic=clock, cache_size=2)
        tokens = [mint(jti=str(number)) for number in range(3)]
        for token in tokens:
            await verifier.verify(token)

        assert [v.credentials.jti for v in verifier._verified.values()] == ["1", "2"]
        assert (await verifier.verify(tokens[0])).jti == "0"
        assert len(verifier._verified) == 2

    async def test_expired_tokens_make_room(self, verifier: Verifier, clock: Clock) -> None:
        """What nobody can come with any more is no reason to keep megabytes."""
        for number in range(5):
            await verifier.verify(mint(jti=str(number)))
        clock.now += 3600
        born = int(clock.now)
        await verifier.verify(mint(jti="new", iat=born, exp=born + 600))

        assert [v.credentials.jti for v in verifier._verified.values()] == ["new"]
        assert verifier.remembered == 1

    async def test_thousands_that_expired_together_are_forgotten_little_by_little(
        self, verifier: Verifier, clock: Clock
    ) -> None:
        """Else whoever comes next keeps everybody waiting."""
        for number in range(40):
            await verifier.verify(mint(jti=str(number)))
        clock.now += 3600
        born = int(clock.now)
        left = []
        for number in range(3):
            await verifier.verify(mint(jti=f"new{number}", iat=born, exp=born + 600))
            left.append(verifier.remembered)

        assert left == [25, 10, 3]

    async def test_no_token_text_is_kept(self, verifier: Verifier) -> None:
        """Only its digest."""
        token = mint()
        await verifier.verify(token)

        assert token not in repr(verifier._verified)


class TestConfiguration:
    """What stops the start."""

    @staticmethod
    def entry(**changes: Any) -> Issuer:  # noqa: ANN401
        """Return an entry with changes."""
        good = {"issuer": "https://a.example", "jwks_url": "https://a.example/k", "audience": "d"}
        return Issuer(**(good | changes))

    @pytest.mark.parametrize(
        "changes",
        [
            {"issuer": ""},
            {"audience": ""},
            {"typ": ""},
            {"jwks_url": ""},
            {"jwks_url": "file:///etc/passwd"},
            {"jwks_url": "https://"},
            {"jwks_url": "http://[x"},
            {"user_prefix": "client"},
            {"user_prefix": "A"},
            {"user_prefix": "a.b"},
            {"user_prefix": "x" * 17},
        ],
    )
    def test_malformed_entry(self, changes: dict[str, Any]) -> None:
        """Names, address and prefix of an issuer."""
        with pytest.raises(ConfigurationError):
            Verifier([self.entry(**changes)])

    @pytest.mark.parametrize("prefixes", [("", ""), ("a", ""), ("a", "a")])
    def test_users_must_be_told_apart(self, prefixes: tuple[str, str]) -> None:
        """Each of several issuers has a prefix of its own."""
        first, second = prefixes
        entries = [
            self.entry(user_prefix=first),
            self.entry(issuer="https://b.example", user_prefix=second),
        ]

        with pytest.raises(ConfigurationError, match="user_prefix"):
            Verifier(entries)

    def test_issuer_is_named_once(self) -> None:
        """Two entries could disagree."""
        with pytest.raises(ConfigurationError, match="twice"):
            Verifier([self.entry(user_prefix="a"), self.entry(user_prefix="b")])

    def test_origins_are_checked(self) -> None:
        """As the handshake compares them."""
        with pytest.raises(ConfigurationError, match="origins"):
            Verifier([self.entry()], origins=["*"])


def judge(token: Any) -> None:  # noqa: ANN401
    """Verify one token with a verifier of its own; anything but a refusal propagates."""

    async def run() -> None:
        verifier = Verifier([ISSUER], fetch=Publisher(), now=lambda: NOW)
        try:
            assert isinstance(await verifier.verify(token), Credentials)
        except InvalidToken as error:
            refusal = error
        else:
            return
        assert refusal.reason.isidentifier()

    asyncio.run(run())


JSON_VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3)
    ),
    max_leaves=5,
)
CLAIM_NAMES = st.sampled_from([*claims(), "nbf", "info", "channels", "cnf"])


@settings(deadline=None)
@given(token=st.text() | st.binary() | st.from_regex(r"[\w-]{2,}\.[\w-]{2,}\.[\w-]{20,}"))
def test_any_string_is_judged(token: str | bytes) -> None:
    """Credentials or InvalidToken, whatever comes."""
    judge(token)


@settings(deadline=None)
@given(
    header_changes=st.dictionaries(
        st.sampled_from(["alg", "typ", "kid", "crit"]), JSON_VALUES, max_size=2
    ),
    claim_changes=st.dictionaries(CLAIM_NAMES, JSON_VALUES, max_size=3),
)
def test_any_signed_claims_are_judged(
    header_changes: dict[str, Any], claim_changes: dict[str, Any]
) -> None:
    """Even an issuer gone mad causes nothing but refusals."""
    judge(sign(header(**header_changes), claims(**claim_changes)))
