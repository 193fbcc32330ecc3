"""What a payload must say, and from when until when it counts."""

from __future__ import annotations

import json
from typing import Any

import pytest

from tests.ws_gateway.issuer import (
    ISSUER,
    NOW,
    Clock,
    Publisher,
    accepts,
    claims,
    encode,
    header,
    mint,
    reason,
    sign,
)
from ws_gateway.exceptions import TokenExpired, TokenNotYetValid
from ws_gateway.verifier import Verifier


class TestTime:
    """``exp``, ``iat`` and ``nbf`` (RFC 7519 section 4.1)."""

    async def test_expired_token_is_told_apart(self, verifier: Verifier, clock: Clock) -> None:
        """J10: a client should fetch another one."""
        clock.now = NOW + 605

        with pytest.raises(TokenExpired):
            await verifier.verify(mint())

    @pytest.mark.parametrize(
        "changes", [{"aud": "x"}, {"sub": 1}, {"scope": ...}, {"cnf": {}}, {"info": 1}]
    )
    async def test_expiry_comes_last(
        self, verifier: Verifier, clock: Clock, changes: dict[str, Any]
    ) -> None:
        """What is wrong besides would be wrong in the next token too."""
        clock.now = NOW + 700

        assert await reason(verifier, mint(**changes)) != "expired"

    @pytest.mark.parametrize("changes", [{"aud": "x"}, {"sub": 1}, {"exp": 1}, {"cnf": {}}])
    @pytest.mark.parametrize("claim", ["iat", "nbf"])
    async def test_beginning_comes_last_too(
        self, verifier: Verifier, claim: str, changes: dict[str, Any]
    ) -> None:
        """A token that is wrong in another way will not be good later."""
        assert await reason(verifier, mint(**{claim: NOW + 60, **changes})) != claim

    @pytest.mark.parametrize("claim", ["iat", "nbf"])
    async def test_token_of_the_future_is_good_in_time(
        self, verifier: Verifier, clock: Clock, claim: str
    ) -> None:
        """The issuer's clock is ahead: not yet, and nothing of it is remembered."""
        token = mint(**{claim: NOW + 60})

        with pytest.raises(TokenNotYetValid):
            await verifier.verify(token)
        assert verifier.remembered == 0

        clock.now = NOW + 55
        assert await accepts(verifier, token)

    async def test_forged_token_is_not_expired(self, verifier: Verifier, clock: Clock) -> None:
        """Nothing is told about a token that is not ours."""
        clock.now = NOW + 700
        signed, _, _ = mint().rpartition(".")

        assert await reason(verifier, f"{signed}.{encode(bytes(64))}") == "signature"

    @pytest.mark.parametrize("name", ["exp", "iat", "nbf"])
    @pytest.mark.parametrize(
        "text",
        [
            "null",
            "true",
            '"1700000000"',
            "1700000000.0",
            "[1700000000]",
            "{}",
            "-1",
            "0",
            "1e999",
            "1" + "0" * 400,
            "9007199254740992",
        ],
    )
    async def test_date_of_another_kind_is_refused(
        self, verifier: Verifier, name: str, text: str
    ) -> None:
        """J10: string, float, bool, null, list, infinite, huge, negative."""
        payload = json.dumps(claims(**{name: "here"})).replace('"here"', text)

        assert await reason(verifier, sign(header(), payload)) == name

    @pytest.mark.parametrize("text", ["NaN", "Infinity", "-Infinity", "1" + "0" * 5000, "01"])
    async def test_date_that_is_no_json_is_refused(self, verifier: Verifier, text: str) -> None:
        """J10 and J20: Python's parser alone would take the first three."""
        payload = json.dumps(claims(exp="here")).replace('"here"', text)

        assert await reason(verifier, sign(header(), payload)) == "malformed"

    @pytest.mark.parametrize(
        ("changes", "word"),
        [
            ({"exp": ...}, "exp"),
            ({"iat": ...}, "iat"),
            ({"iat": NOW + 6}, "iat"),
            ({"nbf": NOW + 6}, "nbf"),
            ({"exp": NOW + 86_401}, "lifetime"),
            ({"exp": NOW + 10 * 365 * 86_400}, "lifetime"),
            ({"exp": NOW}, "lifetime"),
            ({"iat": NOW - 1, "exp": NOW - 2}, "lifetime"),
        ],
    )
    async def test_dates_must_make_sense(
        self, verifier: Verifier, changes: dict[str, Any], word: str
    ) -> None:
        """J11: not yet good, good for years, ended before it began."""
        assert await reason(verifier, mint(**changes)) == word

    async def test_longest_lifetime_is_accepted(self, verifier: Verifier) -> None:
        """Up to and including the limit."""
        assert await accepts(verifier, mint(exp=NOW + 86_400))


class TestClaims:
    """J12 to J16 and J25: what a payload must say."""

    @pytest.mark.parametrize(
        "aud",
        [
            "other",
            "Drawbridge",
            "drawbridge/",
            "",
            [],
            ["other"],
            ["drawbridge", 1],
            1,
            None,
            ...,
            {"drawbridge": 1},
            [["drawbridge"]],
            True,
        ],
    )
    async def test_audience_must_name_us(self, verifier: Verifier, aud: object) -> None:
        """J12."""
        assert await reason(verifier, mint(aud=aud)) == "aud"

    @pytest.mark.parametrize(
        "iss",
        [
            "https://other.example",
            ISSUER.issuer + "/",
            ISSUER.issuer.upper(),
            "",
            [ISSUER.issuer],
            None,
            1,
            ...,
        ],
    )
    async def test_issuer_must_be_known(
        self, verifier: Verifier, publisher: Publisher, iss: object
    ) -> None:
        """J13: compared character by character, before any key is fetched."""
        assert await reason(verifier, mint(iss=iss)) == "issuer"
        assert publisher.fetches == 0

    @pytest.mark.parametrize("name", ["sub", "jti", "client_id", "sid"])
    @pytest.mark.parametrize(
        "value", [1, None, "", "x" * 256, "a\0b", "a\nb", "\x7f", "\x85", "\ud800", ["a"], True, {}]
    )
    async def test_text_must_be_short_and_printable(
        self, verifier: Verifier, name: str, value: object
    ) -> None:
        """J14 and J15."""
        assert await reason(verifier, mint(**{name: value})) == name

    @pytest.mark.parametrize("name", ["sub", "jti", "client_id", "scope"])
    async def test_required_claims(self, verifier: Verifier, name: str) -> None:
        """RFC 9068 section 2.2, and the scope."""
        assert await reason(verifier, mint(**{name: ...})) == name

    @pytest.mark.parametrize(
        "scope",
        [
            "",
            " ",
            "connect ",
            " connect",
            "connect  api",
            'a"b',
            "a\\b",
            "a\tb",
            "a\x00",
            "é",
            1,
            None,
            ["connect"],
            "a\nb",
            "\x7f",
        ],
    )
    async def test_scope_has_its_grammar(self, verifier: Verifier, scope: object) -> None:
        """J15: RFC 6749 section 3.3."""
        assert await reason(verifier, mint(scope=scope)) == "scope"

    @pytest.mark.parametrize("cnf", [{"jkt": "x"}, {}, None])
    async def test_bound_token_is_refused(self, verifier: Verifier, cnf: object) -> None:
        """J25: nobody here checks the proof (RFC 7800)."""
        assert await reason(verifier, mint(cnf=cnf)) == "cnf"

    @pytest.mark.parametrize("name", ["sub", "exp", "iss"])
    async def test_claims_occur_once(self, verifier: Verifier, name: str) -> None:
        """J16: python-jose would take the last."""
        good = json.dumps(claims())
        twice = f'{good[:-1]}, "{name}": {json.dumps(claims()[name])}}}'

        assert await reason(verifier, sign(header(), twice)) == "malformed"

    @pytest.mark.parametrize(
        "info",
        [None, "Alice", 1, [], {"name": "x" * 1024}, {"n": float("inf")}, {"name": "\ud800"}],
    )
    async def test_info_is_a_small_object(self, verifier: Verifier, info: object) -> None:
        """Others will be sent it."""
        payload = json.dumps(claims(info=info)).replace("Infinity", "1e999")

        assert await reason(verifier, sign(header(), payload)) == "info"

    @pytest.mark.parametrize(
        "channels",
        [None, "news", {}, [1], [""], ["x" * 256], ["a\0"], [["a"]], [str(n) for n in range(129)]],
    )
    async def test_channels_are_a_short_list_of_names(
        self, verifier: Verifier, channels: object
    ) -> None:
        """At most 128, each at most 255 characters."""
        assert await reason(verifier, mint(channels=channels)) == "channels"
