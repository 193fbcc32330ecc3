"""Who must have signed a token: algorithms, headers, and the issuer's keys, now and later."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric.utils import encode_dss_signature
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from jose import jwk

from tests.ws_gateway.issuer import (
    EC_PRIVATE,
    ISSUER,
    PUBLISHED,
    RSA_PRIVATE,
    Clock,
    Publisher,
    accepts,
    claims,
    decode,
    encode,
    header,
    mint,
    public,
    reason,
    sign,
)
from ws_gateway.exceptions import KeysUnavailable
from ws_gateway.verifier import Verifier

P256_ORDER = 0xFFFFFFFF00000000FFFFFFFFFFFFFFFFBCE6FAADA7179E84F3B9CAC2FC632551


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
