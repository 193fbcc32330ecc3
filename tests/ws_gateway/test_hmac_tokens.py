"""Connection tokens of the shared secret (protocol section 16.1)."""

from __future__ import annotations

from math import inf
from typing import Any

import pytest
from hypothesis import given, strategies as st

from tests.ws_gateway.hmac_backend import SECRET, encode, sign
from ws_gateway.credentials import Credentials, SubscriptionGrant
from ws_gateway.exceptions import InvalidToken, TokenExpired
from ws_gateway.hmac_tokens import HMACTokens
from ws_gateway.jws import parse

NOW = 1_900_000_000


def tokens(**options: Any) -> HMACTokens:  # noqa: ANN401 - HMACTokens' own
    """Make a judge whose clock stands still."""
    return HMACTokens(SECRET, now=lambda: NOW, **options)


def verify(claims: object, **signing: Any) -> Credentials:  # noqa: ANN401 - sign's own
    """Judge a token of these claims."""
    return tokens().verify(parse(sign(claims, **signing)))


def reason(claims: object, **signing: Any) -> str:  # noqa: ANN401
    """Return why such a token is refused."""
    with pytest.raises(InvalidToken) as caught:
        verify(claims, **signing)
    return caught.value.reason


@pytest.mark.parametrize("algorithm", ["HS256", "HS384", "HS512"])
def test_token_of_the_secret_is_good(algorithm: str) -> None:
    """As Centrifugo's own; nothing but ``sub`` is needed."""
    credentials = verify({"sub": "42"}, algorithm=algorithm)

    assert credentials == Credentials(
        user="42",
        client_id="",
        scopes=frozenset(),
        expires_at=inf,
        jti="",
        sid="",
        issuer="",
    )


def test_all_claims_are_read() -> None:
    """``subs`` wins over ``channels``, and says more."""
    credentials = verify(
        {
            "sub": "42",
            "exp": NOW + 60,
            "jti": "j",
            "iat": "whatever",
            "info": {"name": "x"},
            "meta": {"secret": 1},
            "channels": ["a", "b", "a"],
            "subs": {"b": {"data": 7, "override": {"presence": {"value": True}}}, "$c": {}},
        }
    )

    assert credentials.expires_at == NOW + 60
    assert credentials.jti == "j"
    assert (credentials.info, credentials.meta) == (b'{"name":"x"}', b'{"secret":1}')
    assert credentials.channels == ("a", "b", "$c")
    assert dict(credentials.subs) == {
        "b": SubscriptionGrant(data=b"7", override=(("presence", True),)),
        "$c": SubscriptionGrant(),
    }


@pytest.mark.parametrize("claims", [{}, {"sub": ""}, {"iat": NOW}])
def test_token_without_a_user_is_a_guests(claims: dict[str, Any]) -> None:
    """Whether guests may come is judged by the connection."""
    assert verify(claims).user == ""


@pytest.mark.parametrize("header", [{"alg": "HS256"}, {"alg": "HS256", "typ": "x", "kid": "k"}])
def test_rest_of_the_header_does_not_matter(header: dict[str, object]) -> None:
    """``typ`` and ``kid`` chose the profile, and here ``alg`` its digest."""
    assert verify({"sub": "42"}, header=header).user == "42"


@pytest.mark.parametrize("alg", ["none", "None", "", "RS256", "ES256", "hs256", None, 7, ["HS256"]])
def test_other_algorithm_is_refused(alg: object) -> None:
    """Above all ``none``, and those whose public key everybody has."""
    assert reason({"sub": "42"}, header={"alg": alg}) == "alg"


def test_other_algorithm_than_was_used_is_refused() -> None:
    """The header is signed too."""
    assert reason({"sub": "42"}, algorithm="HS256", header={"alg": "HS512"}) == "signature"


def test_other_secret_is_refused() -> None:
    """Also one that begins like ours."""
    assert reason({"sub": "42"}, secret=SECRET[:-1]) == "signature"
    assert reason({"sub": "42"}, secret=b"") == "signature"


def test_changed_claims_are_refused() -> None:
    """The signature is of the text."""
    head, _, signature = sign({"sub": "42"}).split(".")
    token = ".".join([head, encode(b'{"sub":"43"}'), signature])

    with pytest.raises(InvalidToken, match="signature"):
        tokens().verify(parse(token))


@pytest.mark.parametrize("cut", [1, 10, 22])
def test_cut_signature_is_refused(cut: int) -> None:
    """No prefix of it will do."""
    token = sign({"sub": "42"}, algorithm="HS512")
    signature = token.rpartition(".")[2]

    with pytest.raises(InvalidToken):
        tokens().verify(parse(token[: -len(signature)] + signature[: -4 * cut]))


@pytest.mark.parametrize(
    ("claims", "expires_at"),
    [
        ({"exp": NOW + 1}, NOW + 1),
        ({"exp": NOW + 0.5}, NOW + 0.5),
        ({"exp": NOW + 1, "expire_at": 0}, inf),
        ({"exp": NOW + 1, "expire_at": NOW + 9}, NOW + 9),
        ({"expire_at": NOW + 9}, NOW + 9),
        ({"expire_at": NOW - 9}, NOW - 9),
        ({"expire_at": 0}, inf),
    ],
)
def test_connection_ends_with_the_token_unless_it_says_otherwise(
    claims: dict[str, Any], expires_at: float
) -> None:
    """``expire_at``, where 0 is never."""
    assert verify({"sub": "42"} | claims).expires_at == expires_at


@pytest.mark.parametrize("claims", [{"exp": NOW}, {"exp": 0}, {"exp": NOW - 1, "expire_at": 0}])
def test_expired_token_is_told_apart(claims: dict[str, Any]) -> None:
    """So that an SDK fetches another."""
    with pytest.raises(TokenExpired):
        verify({"sub": "42"} | claims)


def test_expiry_comes_last() -> None:
    """Another token would not help one that is wrong in any other way."""
    assert reason({"sub": 7, "exp": NOW - 1}) == "sub"
    assert reason({"exp": NOW - 1}, secret=b"another") == "signature"


def test_token_of_tomorrow_is_refused() -> None:
    """``nbf``, with some leeway."""
    assert verify({"sub": "42", "nbf": NOW + 5}).user == "42"
    assert reason({"sub": "42", "nbf": NOW + 6}) == "nbf"


@pytest.mark.parametrize(
    ("claims", "word"),
    [
        ({"channel": "news"}, "channel"),
        ({"channel": None}, "channel"),
        ({"sub": 42}, "sub"),
        ({"sub": None}, "sub"),
        ({"sub": "a\nb"}, "sub"),
        ({"sub": "x" * 256}, "sub"),
        ({"exp": "soon"}, "exp"),
        ({"exp": None}, "exp"),
        ({"expire_at": True}, "expire_at"),
        ({"channels": "news"}, "channels"),
        ({"channels": [1]}, "channels"),
        ({"channels": ["x"] * 129}, "channels"),
        ({"subs": ["news"]}, "subs"),
        ({"subs": {"news": 1}}, "subs"),
        ({"subs": {"": {}}}, "subs"),
        ({"subs": {str(number): {} for number in range(129)}}, "subs"),
        ({"subs": {"news": {"override": 1}}}, "override"),
        ({"jti": 7}, "jti"),
    ],
)
def test_claim_of_another_kind_is_refused(claims: dict[str, Any], word: str) -> None:
    """A subscription token above all: it opens no connection."""
    assert reason({"sub": "42"} | claims) == word


@pytest.mark.parametrize(("user", "good"), [("a.1", False), ("a1", True), ("b.1", True)])
def test_user_of_an_issuer_cannot_be_named(user: str, good: bool) -> None:
    """Those have the issuer's prefix and a dot in front (design section 2)."""
    judge = tokens(prefixes=["a", ""])
    token = parse(sign({"sub": user}))

    if good:
        assert judge.verify(token).user == user
    else:
        with pytest.raises(InvalidToken, match="sub"):
            judge.verify(token)


@given(
    st.dictionaries(
        st.sampled_from(["sub", "exp", "expire_at", "nbf", "subs", "channels", "info", "meta"]),
        st.recursive(
            st.one_of(st.none(), st.booleans(), st.integers(), st.floats(), st.text()),
            lambda inner: st.one_of(
                st.lists(inner, max_size=3), st.dictionaries(st.text(), inner, max_size=3)
            ),
            max_leaves=5,
        ),
    )
)
def test_any_claims_are_credentials_or_a_refusal(claims: dict[str, Any]) -> None:
    """Whatever a backend writes."""
    try:
        credentials = verify(claims)
    except InvalidToken:
        return
    assert credentials.user == claims.get("sub", "")
