"""Access tokens: what is minted, and everything that is refused."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives import serialization
from hypothesis import given, settings as hypothesis_settings, strategies as st
from jose import jws, jwt

from auth_service import tokens as tokens_module
from auth_service.exceptions import InvalidToken
from auth_service.keys import KeyRing, load_keys
from auth_service.tokens import AccessTokens

NOW = 1_900_000_000
ISSUER = "https://auth.example"


@pytest.fixture(scope="module")
def ring(tmp_path_factory: pytest.TempPathFactory) -> KeyRing:
    """Two keys; the elliptic one signs."""
    folder = tmp_path_factory.mktemp("keys")
    load_keys(folder, "RS256")
    return load_keys(folder, "ES256")


@pytest.fixture(scope="module")
def tokens(ring: KeyRing) -> AccessTokens:
    """The subject."""
    return AccessTokens(keys=ring, issuer=ISSUER, audience="drawbridge", lifetime_seconds=600)


@pytest.fixture(scope="module")
def good(tokens: AccessTokens) -> str:
    """A token that is accepted."""
    return tokens.mint(
        sub="u1",
        client_id="chat",
        scopes=["connect"],
        sid="s1",
        now=NOW + 0.9,
        auth_time=NOW,
        name="alice",
    ).text


def _b64(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).decode().rstrip("=")


def _header(ring: KeyRing, **changes: object) -> bytes:
    fields = {"alg": "ES256", "kid": ring.signing.kid, "typ": "at+jwt", **changes}
    return json.dumps({name: value for name, value in fields.items() if value is not ...}).encode()


def _claims(**changes: object) -> bytes:
    fields: dict[str, object] = {
        "iss": ISSUER,
        "aud": ["drawbridge"],
        "exp": NOW + 600,
        "iat": NOW,
        "jti": "j",
        "sid": "s",
        "sub": "u1",
        "client_id": "chat",
        "scope": "connect",
        **changes,
    }
    return json.dumps({name: value for name, value in fields.items() if value is not ...}).encode()


def _sign(ring: KeyRing, header: bytes, payload: bytes) -> str:
    """Sign any two texts, which the library would not do."""
    signed = f"{_b64(header)}.{_b64(payload)}"
    return f"{signed}.{_b64(ring.signing.private.sign(signed.encode()))}"


def _refused(tokens: AccessTokens, token: str) -> str:
    with pytest.raises(InvalidToken) as caught:
        tokens.read(token, now=NOW)
    return caught.value.reason


def test_a_minted_token_says_what_the_gateway_wants(good: str, ring: KeyRing) -> None:
    """RFC 9068 section 2, and the claims of this project."""
    header: dict[str, Any] = jwt.get_unverified_header(good)
    claims: dict[str, Any] = jwt.get_unverified_claims(good)

    assert header == {"alg": "ES256", "kid": ring.signing.kid, "typ": "at+jwt"}
    assert len(claims.pop("jti")) >= 20
    assert claims == {
        "iss": ISSUER,
        "aud": ["drawbridge"],
        "iat": NOW,
        "exp": NOW + 600,
        "auth_time": NOW,
        "sub": "u1",
        "sid": "s1",
        "client_id": "chat",
        "scope": "connect",
        "info": {"name": "alice"},
    }
    assert len(good) < 1024


@pytest.mark.parametrize("algorithm", ["ES256", "RS256"])
def test_a_token_reads_back(tmp_path: Path, algorithm: str) -> None:
    """With either algorithm."""
    tokens = AccessTokens(
        keys=load_keys(tmp_path, algorithm),
        issuer=ISSUER,
        audience="drawbridge",
        lifetime_seconds=600,
    )
    minted = tokens.mint(sub="u1", client_id="chat", scopes={"b", "a"}, sid="s1", now=NOW)

    claims = tokens.read(minted.text, now=NOW + 1)

    assert (claims.sub, claims.client_id, claims.scope) == ("u1", "chat", "a b")
    assert (claims.jti, claims.sid) == (minted.jti, minted.sid)
    assert (claims.issued_at, claims.expires_at) == (NOW, NOW + 600)


def test_no_two_tokens_share_an_id(tokens: AccessTokens) -> None:
    """Revocation names one token, or one session."""
    minted = [
        tokens.mint(sub="u", client_id="c", scopes=["connect"], sid="s", now=NOW) for _ in range(10)
    ]

    assert len({token.jti for token in minted}) == 10


def test_a_token_made_in_the_second_of_a_revocation_is_dated_after_it(
    tokens: AccessTokens,
) -> None:
    """A log-out everywhere must not hit who logs in again at once."""
    minted = tokens.mint(
        sub="u", client_id="c", scopes=["connect"], sid="s", now=NOW + 0.5, after=NOW
    )

    claims = tokens.read(minted.text, now=NOW + 0.5)

    assert (claims.issued_at, claims.expires_at) == (NOW + 1, NOW + 601)


def test_a_service_has_neither_name_nor_log_in(tokens: AccessTokens) -> None:
    """RFC 9068 section 2.2.1: auth_time is of a user who logged in."""
    minted = tokens.mint(sub="client:c", client_id="c", scopes=["api"], sid="s", now=NOW)

    claims = jwt.get_unverified_claims(minted.text)

    assert claims.keys().isdisjoint({"auth_time", "info"})


def test_our_own_signature_over_plain_claims_is_accepted(
    tokens: AccessTokens, ring: KeyRing
) -> None:
    """The forgeries below fail for what they change, not for how they are made."""
    assert tokens.read(_sign(ring, _header(ring), _claims()), now=NOW).sub == "u1"
    assert tokens.read(_sign(ring, _header(ring, typ="AT+JWT"), _claims()), now=NOW).sub == "u1"
    token = _sign(ring, _header(ring, typ="application/at+jwt"), _claims(aud=["x", "drawbridge"]))
    assert tokens.read(token, now=NOW).sub == "u1"


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"iss": "https://auth.example/"}, "iss"),
        ({"iss": ...}, "iss"),
        ({"iss": [ISSUER]}, "iss"),
        ({"aud": ...}, "aud"),
        ({"aud": []}, "aud"),
        ({"aud": "Drawbridge"}, "aud"),
        ({"aud": 7}, "aud"),
        ({"aud": ["drawbridge", 7]}, "aud"),
        ({"exp": NOW - 5}, "expired"),
        ({"exp": ...}, "exp"),
        ({"exp": str(NOW + 600)}, "exp"),
        ({"exp": NOW + 600.5}, "exp"),
        ({"exp": True}, "exp"),
        ({"exp": None}, "exp"),
        ({"exp": [NOW]}, "exp"),
        ({"exp": -1}, "exp"),
        ({"exp": 10**400}, "exp"),
        ({"exp": NOW + 10 * 365 * 86400}, "exp"),
        ({"exp": NOW, "iat": NOW}, "exp"),
        ({"iat": NOW + 6, "exp": NOW + 60}, "iat"),
        ({"iat": ...}, "iat"),
        ({"iat": True}, "iat"),
        ({"nbf": NOW + 6}, "nbf"),
        ({"nbf": "now"}, "nbf"),
        ({"sub": ...}, "sub"),
        ({"sub": ""}, "sub"),
        ({"sub": 7}, "sub"),
        ({"sub": "x" * 65}, "sub"),
        ({"sub": "a\0b"}, "sub"),
        ({"sub": "a\u202eb"}, "sub"),
        ({"sub": "caf\u00e9"}, "sub"),
        ({"jti": ...}, "jti"),
        ({"jti": ""}, "jti"),
        ({"sid": 7}, "sid"),
        ({"client_id": ...}, "client_id"),
        ({"scope": ...}, "scope"),
        ({"scope": ["connect"]}, "scope"),
        ({"scope": 'a"b'}, "scope"),
        ({"scope": "a  b"}, "scope"),
        ({"scope": ""}, "scope"),
        ({"cnf": {"jkt": "x"}}, "cnf"),
    ],
)
def test_a_claim_out_of_order_is_refused(
    tokens: AccessTokens, ring: KeyRing, changes: dict[str, object], reason: str
) -> None:
    """RFC 9068 section 4 and RFC 8725: well signed is not enough."""
    assert _refused(tokens, _sign(ring, _header(ring), _claims(**changes))) == reason


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"alg": "none"}, "alg"),
        ({"alg": "noNE"}, "alg"),
        ({"alg": "HS256"}, "alg"),
        ({"alg": "RS256"}, "alg"),
        ({"alg": "ES384"}, "alg"),
        ({"alg": "S256"}, "alg"),
        ({"alg": ...}, "alg"),
        ({"alg": ["ES256"]}, "alg"),
        ({"alg": {"x": 1}}, "alg"),
        ({"typ": "JWT"}, "typ"),
        ({"typ": "id_token+jwt"}, "typ"),
        ({"typ": ...}, "typ"),
        ({"typ": 7}, "typ"),
        ({"kid": ...}, "kid"),
        ({"kid": ""}, "kid"),
        ({"kid": 7}, "kid"),
        ({"kid": "../../etc/passwd"}, "kid"),
        ({"kid": "' OR 1=1--"}, "kid"),
        ({"kid": "x" * 43}, "kid"),
        ({"crit": ["x"]}, "header"),
        ({"crit": []}, "header"),
        ({"jku": "https://evil.example"}, "header"),
        ({"jwk": {"kty": "EC"}}, "header"),
        ({"x5c": []}, "header"),
        ({"b64": False}, "header"),
        ({"zip": "DEF"}, "header"),
        ({"cty": "JWT"}, "header"),
    ],
)
def test_a_header_out_of_order_is_refused(
    tokens: AccessTokens, ring: KeyRing, changes: dict[str, object], reason: str
) -> None:
    """Only alg, typ and kid, each with the one value we write."""
    assert _refused(tokens, _sign(ring, _header(ring, **changes), _claims())) == reason


def test_the_public_key_is_no_hmac_secret(tokens: AccessTokens, ring: KeyRing) -> None:
    """The classic confusion, with every spelling of the key."""
    public = ring.signing.public
    pem = public.to_pem()
    loaded = serialization.load_pem_public_key(pem)
    spellings = [
        pem,
        loaded.public_bytes(
            serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo
        ),
        loaded.public_bytes(serialization.Encoding.OpenSSH, serialization.PublicFormat.OpenSSH),
        json.dumps(dict(ring.signing.public_jwk)).encode(),
    ]
    for secret in spellings:
        for algorithm in ("HS256", "ES256"):
            signed = f"{_b64(_header(ring, alg=algorithm))}.{_b64(_claims())}"
            mac = hmac.new(secret, signed.encode(), hashlib.sha256).digest()
            _refused(tokens, f"{signed}.{_b64(mac)}")


def test_another_keys_kid_is_refused(tokens: AccessTokens, ring: KeyRing) -> None:
    """The kid chooses key and algorithm together."""
    other = next(kid for kid in ring.by_kid if kid != ring.signing.kid)

    _refused(tokens, _sign(ring, _header(ring, kid=other), _claims()))
    _refused(tokens, _sign(ring, _header(ring, kid=other, alg="RS256"), _claims()))


def test_a_stranger_key_is_refused(tokens: AccessTokens, ring: KeyRing, tmp_path: Path) -> None:
    """With our kid on it."""
    stranger = load_keys(tmp_path, "ES256").signing
    claims: dict[str, Any] = json.loads(_claims())

    forged = jws.sign(
        claims,
        stranger.private,
        headers={"kid": ring.signing.kid, "typ": "at+jwt"},
        algorithm="ES256",
    )

    _refused(tokens, forged)


def test_a_token_has_one_spelling(tokens: AccessTokens, good: str) -> None:
    """Else a revoked one could be respelt; python-jose accepts most of these."""
    header, payload, signature = good.split(".")
    last = signature[-1]
    alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
    flipped = alphabet[alphabet.index(last) ^ 1]
    for other in (
        good + "=",
        good + "==",
        good + "!!!!",
        good + "    ",
        good + "\n",
        good + "\0",
        " " + good,
        "Bearer " + good,
        f"{header}.{payload}.{signature[:-1]}{flipped}",
        f"{header}.{payload}.",
        f"{header}.{payload}",
        f"{good}.{signature}",
        f"{good}.{signature}.{signature}",
        f"{header}.{payload}.{_b64(bytes(64))}",
        f"{header}.{payload}.{_b64(bytes(63))}",
        f"{header}.{payload}.{signature}AAAA",
        good.replace(".", ". ", 1),
        json.dumps({"payload": payload, "protected": header, "signature": signature}),
    ):
        _refused(tokens, other)


def test_doubled_names_are_refused(tokens: AccessTokens, ring: KeyRing) -> None:
    """Two parsers could read two users out of one token."""
    doubled = _claims()[:-1] + b', "sub": "admin"}'
    assert _refused(tokens, _sign(ring, _header(ring), doubled)) == "duplicate"
    header = _header(ring)[:-1] + b', "alg": "none"}'
    assert _refused(tokens, _sign(ring, header, _claims())) == "duplicate"


@pytest.mark.parametrize(
    "payload",
    [
        b"",
        b"[]",
        b"null",
        b'"x"',
        b"\xff\xfe",
        b"{",
        b'{"exp":1e999}',
        b'{"exp":Infinity}',
        b'{"exp":NaN}',
        b"[" * 1000,
        b'{"exp":' + b"9" * 2000 + b"}",
    ],
)
def test_a_payload_that_is_no_object_is_refused(
    tokens: AccessTokens, ring: KeyRing, payload: bytes
) -> None:
    """Well signed nonsense."""
    _refused(tokens, _sign(ring, _header(ring), payload))


def test_deep_and_long_tokens_are_refused_unparsed(tokens: AccessTokens) -> None:
    """A nested header breaks python-jose with RecursionError; length is looked at first."""
    deep = _b64(b'{"alg":' + b"[" * 2000)
    assert _refused(tokens, f"{deep}.{_b64(_claims())}.{'A' * 86}") == "shape"
    assert _refused(tokens, "A" * 4097) == "length"
    assert _refused(tokens, "A" * 3_000_000) == "length"


def test_the_end_of_life_has_five_seconds_of_leeway(tokens: AccessTokens, good: str) -> None:
    """For clocks that differ a little, and not a second more."""
    assert tokens.read(good, now=NOW + 604.9).sub == "u1"
    with pytest.raises(InvalidToken, match="expired"):
        tokens.read(good, now=NOW + 605)


@pytest.fixture
def verifications(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Every text whose signature is verified from now on."""
    seen: list[str] = []
    verify = jws.verify

    def watched(text: str, *arguments: Any, **options: Any) -> object:  # noqa: ANN401
        seen.append(text)
        return verify(text, *arguments, **options)

    monkeypatch.setattr(jws, "verify", watched)
    return seen


def test_a_signature_is_verified_once(ring: KeyRing, verifications: list[str]) -> None:
    """What was good is remembered; what was not is looked at every time, and spoils nothing."""
    tokens = AccessTokens(keys=ring, issuer=ISSUER, audience="drawbridge", lifetime_seconds=600)
    good = _sign(ring, _header(ring), _claims())
    bad = good[:-4] + ("AAAA" if good[-4:] != "AAAA" else "BBBB")

    for _ in range(3):
        assert tokens.read(good, now=NOW).sub == "u1"
        assert _refused(tokens, bad)

    assert verifications == [good, bad, bad, bad]


def test_times_count_for_a_token_that_was_seen_before(ring: KeyRing) -> None:
    """Also where a clock is set back."""
    tokens = AccessTokens(keys=ring, issuer=ISSUER, audience="drawbridge", lifetime_seconds=600)
    good = _sign(ring, _header(ring), _claims(nbf=NOW + 100))

    assert tokens.read(good, now=NOW + 100).sub == "u1"
    for now, reason in ((NOW + 605, "expired"), (NOW - 6, "iat"), (NOW + 90, "nbf")):
        with pytest.raises(InvalidToken, match=reason):
            tokens.read(good, now=now)
    assert tokens.read(good, now=NOW + 100).sub == "u1"


def test_a_token_seen_before_falls_with_its_key(ring: KeyRing, good: str) -> None:
    """Keys are revoked, and removed after their time."""

    class Keys:
        now = ring

        def at(self, _: float, /) -> KeyRing:
            return self.now

    keys = Keys()
    tokens = AccessTokens(keys=keys, issuer=ISSUER, audience="drawbridge", lifetime_seconds=600)
    assert tokens.read(good, now=NOW).sub == "u1"

    left = {kid: key for kid, key in ring.by_kid.items() if kid != ring.signing.kid}
    keys.now = KeyRing(ring.signing, left)

    assert _refused(tokens, good) == "kid"


def test_only_so_many_tokens_are_remembered(
    ring: KeyRing, verifications: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The first one is forgotten first."""
    monkeypatch.setattr(tokens_module, "MAX_REMEMBERED", 2)
    tokens = AccessTokens(keys=ring, issuer=ISSUER, audience="drawbridge", lifetime_seconds=600)
    first, second, third = (_sign(ring, _header(ring), _claims(jti=jti)) for jti in "123")

    for token in (first, second, third, second, third, first):
        tokens.read(token, now=NOW)

    assert verifications == [first, second, third, first]


@hypothesis_settings(max_examples=300)
@given(st.text())
def test_any_text_is_claims_or_invalid(tokens: AccessTokens, text: str) -> None:
    """No other exception, whatever comes."""
    with pytest.raises(InvalidToken):
        tokens.read(text, now=NOW)


_json = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=5,
)


@hypothesis_settings(max_examples=150)
@given(
    st.dictionaries(
        st.sampled_from(["iss", "aud", "exp", "iat", "nbf", "sub", "scope", "jti", "cnf"]), _json
    )
)
def test_any_signed_claims_are_accepted_or_invalid(
    tokens: AccessTokens, ring: KeyRing, changes: dict[str, object]
) -> None:
    """Well signed, of every type."""
    token = _sign(ring, _header(ring), _claims(**changes))
    try:
        claims = tokens.read(token, now=NOW)
    except InvalidToken:
        return
    assert claims.client_id == "chat"
