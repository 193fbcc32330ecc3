"""Which access tokens are accepted, and that every other string is one refusal.

The J numbers are groups of attacks on JWTs: each is a list of tokens that must not be accepted.
"""

from __future__ import annotations

import asyncio
import base64
import json
import unicodedata
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.asymmetric.utils import encode_dss_signature
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from hypothesis import given, settings, strategies as st
from jose import jwk
from jose.backends.base import Key

from tests.ws_gateway import hmac_backend
from tests.ws_gateway.hmac_backend import SECRET
from ws_gateway.credentials import Credentials
from ws_gateway.exceptions import (
    ConfigurationError,
    InvalidToken,
    KeysUnavailable,
    RevocationsUnavailable,
    SessionEnded,
    TokenExpired,
    TokenNotYetValid,
    TokenRevoked,
)
from ws_gateway.hmac_tokens import HMACTokens
from ws_gateway.revocations.deny_set import Kind, Revocation
from ws_gateway.revocations.log import RevocationLog
from ws_gateway.verifier import Issuer, Verifier

ISSUER = Issuer(
    issuer="https://issuer.example",
    jwks_url="https://issuer.example/jwks.json",
    audience="drawbridge",
)
NOW = 1_700_000_000
P256_ORDER = 0xFFFFFFFF00000000FFFFFFFFFFFFFFFFBCE6FAADA7179E84F3B9CAC2FC632551

EC_PRIVATE = ec.generate_private_key(ec.SECP256R1())
RSA_PRIVATE = rsa.generate_private_key(65537, 2048)
KEYS: dict[str, Key] = {
    "ec": jwk.construct(EC_PRIVATE, "ES256"),  # type: ignore[arg-type]  # any key object will do
    "rsa": jwk.construct(RSA_PRIVATE, "RS256"),  # type: ignore[arg-type]
    "encryption": jwk.construct(ec.generate_private_key(ec.SECP256R1()), "ES256"),  # type: ignore[arg-type]
    "pending": jwk.construct(ec.generate_private_key(ec.SECP256R1()), "ES256"),  # type: ignore[arg-type]
}


def public(kid: str, use: str = "sig") -> dict[str, Any]:
    """Return a key as the issuer publishes it."""
    return KEYS[kid].public_key().to_dict() | {"kid": kid, "use": use}


PUBLISHED = [public("ec"), public("rsa"), public("encryption", "enc")]


def encode(data: bytes) -> str:
    """Return base64url without padding."""
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def decode(text: str) -> bytes:
    """Return the bytes of base64url without padding."""
    return base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))


def sign(header: object, payload: object, kid: str = "ec") -> str:
    """Return a JWS of any header and payload; text and bytes are taken as they are."""
    parts = []
    for part in (header, payload):
        text = part if isinstance(part, str | bytes) else json.dumps(part)
        parts.append(encode(text.encode() if isinstance(text, str) else text))
    signed = ".".join(parts)
    return f"{signed}.{encode(KEYS[kid].sign(signed.encode()))}"


def header(**changes: object) -> dict[str, Any]:
    """Return a good header with changes; a member changed to ``...`` is left out."""
    return without_dots({"alg": "ES256", "typ": "at+jwt", "kid": "ec"} | changes)


def claims(**changes: object) -> dict[str, Any]:
    """Return good claims with changes; a claim changed to ``...`` is left out."""
    good = {
        "iss": ISSUER.issuer,
        "aud": ["drawbridge"],
        "exp": NOW + 600,
        "iat": NOW,
        "jti": "token-1",
        "sid": "session-1",
        "sub": "alice",
        "client_id": "chat",
        "scope": "connect api",
    }
    return without_dots(good | changes)


def without_dots(members: dict[str, Any]) -> dict[str, Any]:
    """Leave out the members that are ``...``."""
    return {name: value for name, value in members.items() if value is not ...}


def mint(**changes: object) -> str:
    """Return a token signed by the issuer, with these claims changed."""
    return sign(header(), claims(**changes))


class Publisher:
    """The issuers' key sets; counts how often it is asked."""

    def __init__(self) -> None:
        self.keys = PUBLISHED
        self.error: Exception | None = None
        self.fetches = 0

    async def __call__(self, _url: str) -> bytes:
        """Answer with the keys published now."""
        self.fetches += 1
        if self.error is not None:
            raise self.error
        return json.dumps({"keys": self.keys}).encode()


class Clock:
    """The time of day and the monotonic clock, moved by hand together."""

    def __init__(self) -> None:
        self.now = float(NOW)

    def __call__(self) -> float:
        """Return the time it was moved to."""
        return self.now


@pytest.fixture
def clock() -> Clock:
    """A clock that stands still."""
    return Clock()


@pytest.fixture
def publisher() -> Publisher:
    """An issuer that is there."""
    return Publisher()


@pytest.fixture
def verifier(publisher: Publisher, clock: Clock) -> Verifier:
    """One issuer, by the default profile."""
    return Verifier([ISSUER], fetch=publisher, now=clock, monotonic=clock)


async def accepts(verifier: Verifier, token: str) -> bool:
    """Tell whether the token is accepted; a refusal is raised."""
    return isinstance(await verifier.verify(token), Credentials)


async def reason(verifier: Verifier, token: str) -> str:
    """Return the word of the refusal."""
    with pytest.raises(InvalidToken) as caught:
        await verifier.verify(token)
    return caught.value.reason


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


class TestSignature:
    """J1, J2, J3, J17: who signed, and with what."""

    @pytest.mark.parametrize(
        "alg", ["none", "None", "noNE", "", "ES384", "RS512", "HS256", "es256"]
    )
    async def test_other_algorithm_is_refused(self, verifier: Verifier, alg: str) -> None:
        """J1 and J3, even over a right signature: the key has one algorithm."""
        assert await reason(verifier, sign(header(alg=alg), claims())) == "alg"

    @pytest.mark.parametrize("alg", [..., None, 1, ["ES256"], {"ES256": 1}, True])
    async def test_algorithm_must_be_text(self, verifier: Verifier, alg: object) -> None:
        """J3: python-jose answers some of these with a TypeError."""
        assert await reason(verifier, sign(header(alg=alg), claims())) == "alg"

    @pytest.mark.parametrize("kid", ["ec", "rsa"])
    @pytest.mark.parametrize(
        ("encoding", "form"),
        [
            (Encoding.PEM, PublicFormat.SubjectPublicKeyInfo),
            (Encoding.DER, PublicFormat.SubjectPublicKeyInfo),
            (Encoding.OpenSSH, PublicFormat.OpenSSH),
            (None, None),
        ],
    )
    async def test_public_key_is_no_secret(
        self, verifier: Verifier, kid: str, encoding: Encoding | None, form: PublicFormat | None
    ) -> None:
        """J2: an HMAC over the published key, in any spelling (CVE-2024-33663)."""
        private: Any = {"ec": EC_PRIVATE, "rsa": RSA_PRIVATE}[kid]
        if encoding is None or form is None:
            secret = json.dumps(public(kid)).encode()
        else:
            secret = private.public_key().public_bytes(encoding, form)
        octets = {"kty": "oct", "k": encode(secret)}
        hmac = jwk.construct(octets, "HS256")

        for alg in ("HS256", "ES256", "RS256"):
            signed = ".".join(
                encode(json.dumps(p).encode()) for p in (header(alg=alg, kid=kid), claims())
            )
            token = f"{signed}.{encode(hmac.sign(signed.encode()))}"
            assert await reason(verifier, token) in {"alg", "signature"}

    async def test_key_of_another_name_is_refused(self, verifier: Verifier) -> None:
        """J4: another key's kid."""
        assert await reason(verifier, sign(header(), claims(), "pending")) == "signature"
        assert await reason(verifier, sign(header(kid="rsa"), claims())) == "alg"
        assert await reason(verifier, sign(header(kid="rsa", alg="RS256"), claims())) == "signature"

    @pytest.mark.parametrize(
        "signature",
        [
            bytes(64),
            bytes(32) + (1).to_bytes(32, "big"),
            (1).to_bytes(32, "big") + bytes(32),
            P256_ORDER.to_bytes(32, "big") * 2,
            P256_ORDER.to_bytes(32, "big") + (1).to_bytes(32, "big"),
            b"\xff" * 64,
            b"\xff" * 16,
        ],
    )
    async def test_degenerate_signature_is_refused(
        self, verifier: Verifier, signature: bytes
    ) -> None:
        """J17: r or s zero or the order of the curve."""
        signed, _, _ = mint().rpartition(".")

        assert await reason(verifier, f"{signed}.{encode(signature)}") == "signature"

    async def test_signature_of_another_shape_is_refused(self, verifier: Verifier) -> None:
        """J17: DER, one byte less, one more."""
        signed, _, text = mint().rpartition(".")
        raw = decode(text)
        r, s = (int.from_bytes(half, "big") for half in (raw[:32], raw[32:]))

        for other in (encode_dss_signature(r, s), raw[:-1], raw + b"\0", b"\0" + raw):
            assert await reason(verifier, f"{signed}.{encode(other)}") == "signature"

    async def test_changed_payload_is_refused(self, verifier: Verifier) -> None:
        """The reason why there is a signature."""
        head, _, signature = mint().split(".")
        payload = encode(json.dumps(claims(sub="mallory")).encode())

        assert await reason(verifier, f"{head}.{payload}.{signature}") == "signature"


class TestHeader:
    """J4, J6, J7, J8, J16: what a header may hold."""

    @pytest.mark.parametrize(
        "kid",
        [
            *("../../etc/passwd", "/dev/null", "' OR 1=1--", "https://evil.example/k", ""),
            *("k" * 65, "ec\n", "ec\0", "é", "a b", ..., None, 7, ["ec"], {"ec": 1}),
        ],
    )
    async def test_kid_of_another_kind_touches_nothing(
        self, verifier: Verifier, publisher: Publisher, kid: object
    ) -> None:
        """J4: a name, never a path, a query or an address; the issuer is not even asked."""
        assert await reason(verifier, sign(header(kid=kid), claims())) == "kid"
        assert publisher.fetches == 0

    @pytest.mark.parametrize(
        "changes",
        [
            {"jku": "https://evil.example/jwks.json"},
            {"x5u": "https://evil.example/cert.pem"},
            {"jwk": public("ec")},
            {"x5c": ["MIIB"]},
            {"x5t": "a"},
            {"x5t#S256": "a"},
            {"crit": ["x"]},
            {"crit": ["b64"], "b64": False},
            {"crit": []},
            {"zip": "DEF"},
            {"enc": "A256GCM"},
            {"cty": "JWT"},
            {"x": 1},
        ],
    )
    async def test_other_members_are_refused(
        self, verifier: Verifier, publisher: Publisher, changes: dict[str, Any]
    ) -> None:
        """J6 and J7: no key comes with the token, nothing critical is passed over."""
        assert await reason(verifier, sign(header(**changes), claims())) == "header"
        assert publisher.fetches == 0

    @pytest.mark.parametrize(
        "typ",
        [
            "JWT",
            "id_token+jwt",
            "logout+jwt",
            "",
            "at+jwt ",
            "x/at+jwt",
            "application/JWT",
            ...,
            None,
            1,
            ["at+jwt"],
        ],
    )
    async def test_other_types_are_refused(self, verifier: Verifier, typ: object) -> None:
        """J8 and J9: ID tokens, client assertions and the like are no access tokens."""
        assert await reason(verifier, sign(header(typ=typ), claims())) == "typ"

    @pytest.mark.parametrize(
        "text",
        [
            '{"alg":"ES256","alg":"ES256","typ":"at+jwt","kid":"ec"}',
            '{"alg":"none","typ":"at+jwt","kid":"ec","alg":"ES256"}',
            '{"alg":"ES256","typ":"at+jwt","kid":"ec","kid":"ec"}',
            '["alg"]',
            "null",
            '"text"',
            "",
            "{",
            '{"alg":"ES256","typ":"at+jwt","kid":"ec"}x',
            '\ufeff{"alg":"ES256","typ":"at+jwt","kid":"ec"}',
            '{"alg":"ES256","typ":"at+jwt","kid":"ec","x":' + "[" * 200 + "]" * 200 + "}",
        ],
    )
    async def test_header_is_one_object_of_unique_names(
        self, verifier: Verifier, text: str
    ) -> None:
        """J16 and J20."""
        assert await reason(verifier, sign(text, claims())) in {"malformed", "header"}

    async def test_utf16_is_no_json_here(self, verifier: Verifier) -> None:
        """RFC 7515 section 3: UTF-8, although Python would guess others."""
        for codec in ("utf-16", "utf-16-le", "utf-32"):
            text = json.dumps(header()).encode(codec)

            assert await reason(verifier, sign(text, claims())) == "malformed"


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


class TestKeys:
    """J5 and J23: the issuer's keys, now and later."""

    @pytest.mark.parametrize("kid", ["pending", "encryption"])
    async def test_key_that_is_not_published_for_signatures(
        self, verifier: Verifier, kid: str
    ) -> None:
        """J23: unknown, or for encryption."""
        token = sign(header(kid=kid), claims(), kid)

        assert await reason(verifier, token) == "unknown_kid"

    async def test_flood_of_unknown_kids_causes_one_fetch(
        self, verifier: Verifier, publisher: Publisher, clock: Clock
    ) -> None:
        """J5: a thousand within the cooldown."""
        for number in range(1000):
            token = sign(header(kid=f"random-{number}"), claims())
            assert await reason(verifier, token) == "unknown_kid"
            clock.now += 0.009

        assert publisher.fetches == 1

    async def test_removed_key_ends_its_tokens(
        self, verifier: Verifier, publisher: Publisher, clock: Clock
    ) -> None:
        """J23: even those that were verified before."""
        token = mint()
        await verifier.verify(token)
        publisher.keys = [public("rsa")]
        clock.now += 300

        await verifier.verify(token)
        for _ in range(5):
            await asyncio.sleep(0)

        assert await reason(verifier, token) == "unknown_kid"

    async def test_replaced_key_ends_its_tokens(
        self, verifier: Verifier, publisher: Publisher
    ) -> None:
        """Another key under the same name."""
        token = mint()
        await verifier.verify(token)
        publisher.keys = [public("pending") | {"kid": "ec"}]
        await verifier.load_keys()

        assert await reason(verifier, token) == "signature"

    async def test_rotation_is_noticed_by_the_unknown_kid(
        self, verifier: Verifier, publisher: Publisher, clock: Clock
    ) -> None:
        """Without waiting for the set to become old."""
        await verifier.verify(mint())
        publisher.keys = [*PUBLISHED, public("pending")]
        clock.now += 10

        assert await accepts(verifier, sign(header(kid="pending"), claims(), "pending"))

    async def test_unreachable_issuer_is_no_refusal(
        self, verifier: Verifier, publisher: Publisher
    ) -> None:
        """The client should come again, with the same token."""
        publisher.error = OSError("away")

        with pytest.raises(KeysUnavailable):
            await verifier.verify(mint())

    async def test_readiness_follows_the_key_sets(
        self, verifier: Verifier, publisher: Publisher
    ) -> None:
        """Not ready before each was read once."""
        publisher.error = OSError("away")
        assert not await verifier.load_keys()
        publisher.error = None
        assert await verifier.load_keys()
        assert verifier.ready

    async def test_closing_closes_the_key_sets(
        self, verifier: Verifier, publisher: Publisher
    ) -> None:
        """No further fetch."""
        await verifier.aclose()

        with pytest.raises(KeysUnavailable):
            await verifier.verify(mint())
        assert publisher.fetches == 0

    async def test_fetches_are_reported_by_issuer(self) -> None:
        """For metrics."""
        reports: list[tuple[str, bool]] = []
        verifier = Verifier(
            [ISSUER],
            fetch=Publisher(),
            on_fetch=lambda issuer, good: reports.append((issuer, good)),
        )
        await verifier.load_keys()

        assert reports == [(ISSUER.issuer, True)]


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


def _fields(issuer: Issuer) -> dict[str, Any]:
    return {name: getattr(issuer, name) for name in issuer.__slots__}
