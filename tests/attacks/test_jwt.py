"""J: every token that must not be accepted, thrown at every door that takes one.

The doors are the gateway's handshake and ``connect`` command, and the token service's ``/users/me``
and ``/introspect``. Each token is made from one that all of them accept.
"""

from __future__ import annotations

import base64
import http.server
import json
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import httpx2
import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.utils import encode_dss_signature
from jose import jwk
from websockets.exceptions import ConnectionClosed
from websockets.sync.client import connect

from tests.attacks.forge import LEFT_OUT, Forge, decode, encode
from tests.attacks.running import Services, exchange

pytestmark = pytest.mark.integration

P256_ORDER = 0xFFFFFFFF00000000FFFFFFFFFFFFFFFFBCE6FAADA7179E84F3B9CAC2FC632551
MAX_TOKEN_CHARACTERS = 4096
LEEWAY_SECONDS = 5
FAR_SECONDS = 10 * 365 * 86_400

Make = Callable[[Forge], str]


def _with_signature(signature: bytes) -> Make:
    return lambda forge: f"{forge.token().rpartition('.')[0]}.{encode(signature)}"


def _hmac(algorithm: str, spelling: int, claimed: str) -> Make:
    """Sign by HMAC with the public key as the secret (CVE-2024-33663)."""

    def make(forge: Forge) -> str:
        secret = forge.published(algorithm)[spelling]
        key = jwk.construct({"kty": "oct", "k": encode(secret)}, "HS256")
        return forge.sign(forge.header(algorithm, alg=claimed), forge.claims(), key)

    return make


def _embedded_key(forge: Forge) -> str:
    """Bring the key along in the header, with a signature that it verifies."""
    public = forge.stranger.public_key().to_dict()
    return forge.sign(forge.header(jwk=public), forge.claims(), forge.stranger)


def _raw_claims(text: Callable[[str], str]) -> Make:
    """Change the claims' JSON text as such."""
    return lambda forge: forge.sign(forge.header(), text(json.dumps(forge.claims())))


def _twice(member: str) -> Make:
    return _raw_claims(lambda text: text.replace(f'"{member}":', f'"{member}": 1, "{member}":', 1))


def _der(forge: Forge) -> str:
    signed, _, signature = forge.token().rpartition(".")
    raw = decode(signature)
    r, s = (int.from_bytes(half, "big") for half in (raw[:32], raw[32:]))
    return f"{signed}.{encode(encode_dss_signature(r, s))}"


def _spare_bits(forge: Forge) -> str:
    """Spell the same signature differently: the last character has bits that do not count."""
    token = forge.token()
    alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
    meant = decode(token.rpartition(".")[2])
    return next(
        f"{token[:-1]}{last}"
        for last in alphabet
        if last != token[-1] and decode(f"{token[:-1]}{last}".rpartition(".")[2]) == meant
    )


def _compact(change: Callable[[str, str, str], str]) -> Make:
    return lambda forge: change(*forge.token().split("."))


def _old_curve(forge: Forge) -> str:
    """Sign with a P-384 key under ES256: python-jose would."""
    key: Any = jwk.construct(ec.generate_private_key(ec.SECP384R1()), "ES256")  # type: ignore[arg-type]
    return forge.sign(forge.header(), forge.claims(), key)


def _claim(**changes: object) -> Make:
    return lambda forge: forge.token(**changes)


def _head(**changes: object) -> Make:
    return lambda forge: forge.headed(**changes)


def _at(**seconds: int) -> Make:
    """Shift times relative to now."""
    return lambda forge: forge.token(
        **{name: int(time.time()) + offset for name, offset in seconds.items()}
    )


def _deep(depth: int) -> str:
    return "[" * depth + "]" * depth


REFUSED: dict[str, Make] = {
    # J1
    **{f"J1 alg {alg}, signature kept": _head(alg=alg) for alg in ("none", "None", "noNE", "NONE")},
    "J1 alg none, no signature": lambda forge: forge.headed(alg="none").rpartition(".")[0] + ".",
    "J1 right alg, no signature": _compact(lambda h, p, _: f"{h}.{p}."),
    # J2
    **{
        f"J2 {claimed} with the {algorithm} public key as {name}": _hmac(algorithm, form, claimed)
        for algorithm in ("ES256", "RS256")
        for form, name in enumerate(("PEM", "DER", "OpenSSH", "JWK"))
        for claimed in ("HS256", algorithm)
    },
    # J3
    **{
        f"J3 alg {alg!r}": _head(alg=alg)
        for alg in ("RS512", "ES384", "RS256", "es256", LEFT_OUT, None, 1, ["ES256"], {"a": 1})
    },
    # J4
    **{
        f"J4 kid {str(kid)[:20]!r}": _head(kid=kid)
        for kid in (
            *("../../etc/passwd", "/dev/null", "' OR 1=1--", "https://evil.example/key"),
            *("x" * 10_000, "", LEFT_OUT, 7, None, ["k"], "unknown"),
        )
    },
    "J4 kid of another key": lambda forge: forge.headed(kid=forge.kids["RS256"]),
    # J6
    "J6 a key in the header": _embedded_key,
    "J6 x5c": _head(x5c=["MIIB"]),
    # J7
    "J7 crit of an unknown extension": _head(crit=["x"], x=1),
    "J7 crit b64": _head(crit=["b64"], b64=False),
    "J7 crit empty": _head(crit=[]),
    # J8
    **{
        f"J8 typ {typ!r}": _head(typ=typ)
        for typ in ("JWT", "id_token+jwt", "logout+jwt", LEFT_OUT, 7, "", None, ["at+jwt"])
    },
    # J9
    "J9 an ID token": lambda forge: forge.sign(
        forge.header(typ="JWT"), forge.claims(aud="chat", nonce="n", scope=LEFT_OUT)
    ),
    "J9 a client assertion": lambda forge: forge.sign(
        forge.header(typ="JWT"),
        {"iss": "chat", "sub": "chat", "aud": forge.issuer, "jti": "1", "exp": 2_000_000_000},
    ),
    # J10
    "J10 expired beyond the leeway": _at(iat=-600, exp=-LEEWAY_SECONDS - 1),
    **{
        f"J10 exp {exp!r}": _claim(exp=exp)
        for exp in (LEFT_OUT, "2000000000", 2e9, True, None, [2_000_000_000], -1, 0)
    },
    **{
        f"J10 exp {text}": _raw_claims(
            lambda claims, text=text: json.dumps(json.loads(claims) | {"exp": "@"}).replace(  # type: ignore[misc]
                '"@"', text
            )
        )
        for text in ("Infinity", "NaN", "1e999", "1" + "0" * 400)
    },
    # J11
    "J11 nbf in the future": _at(nbf=60),
    "J11 iat in the future": _at(iat=60, exp=120),
    "J11 ten years": _at(exp=FAR_SECONDS),
    "J11 nbf of another kind": _claim(nbf="0"),
    # J12
    **{
        f"J12 aud {aud!r}": _claim(aud=aud)
        for aud in ("other", LEFT_OUT, [], 7, ["other"], "Drawbridge", "drawbridge/", None, [1])
    },
    # J13
    **{
        f"J13 iss {iss!r}": _claim(iss=iss)
        for iss in ("https://evil.example", LEFT_OUT, ["x"], 7, "")
    },
    "J13 iss with a slash": lambda forge: forge.token(iss=forge.issuer + "/"),
    # J14
    **{
        f"J14 sub {str(sub)[:20]!r}": _claim(sub=sub)
        for sub in (LEFT_OUT, 7, "", "x" * 10_000, "a\0b", None, ["a"], {"a": 1})
    },
    # J15
    **{
        f"J15 {name} {value!r}": _claim(**{name: value})
        for name in ("jti", "client_id", "scope")
        for value in (LEFT_OUT, 7, "", None, ["connect"])
    },
    **{
        f"J15 scope {scope!r}": _claim(scope=scope)
        for scope in ('a"b', "a\\b", "a\tb", "a  b", " a", "a ", "a\u00e9")
    },
    # J16
    **{f"J16 {name} twice": _twice(name) for name in ("sub", "exp", "aud", "iss")},
    "J16 alg twice": lambda forge: forge.sign(
        '{"alg":"none",' + json.dumps(forge.header())[1:], forge.claims()
    ),
    # J17
    "J17 zero signature": _with_signature(bytes(64)),
    "J17 r zero": _with_signature(bytes(32) + (1).to_bytes(32, "big")),
    "J17 s zero": _with_signature((1).to_bytes(32, "big") + bytes(32)),
    "J17 r and s the order": _with_signature(P256_ORDER.to_bytes(32, "big") * 2),
    "J17 DER": _der,
    "J17 63 bytes": _with_signature(bytes(range(63))),
    "J17 65 bytes": _with_signature(bytes(range(65))),
    "J17 a stranger's key": lambda forge: forge.sign(
        forge.header(), forge.claims(), forge.stranger
    ),
    "J17 another curve": _old_curve,
    "J17 another payload": _compact(
        lambda h, p, s: f"{h}.{encode(decode(p).replace(b'forged', b'admin2'))}.{s}"
    ),
    # J18
    "J18 spare bits": _spare_bits,
    "J18 padding": _compact(lambda h, p, s: f"{h}.{p}.{s}=="),
    "J18 the other alphabet": _compact(lambda h, p, s: f"{h}.{p}.+/{s[2:]}"),
    "J18 inner blank": _compact(lambda h, p, s: f"{h}.{p}.{s[:9]} {s[9:]}"),
    "J18 exclamation marks": _compact(lambda h, p, s: f"{h}.{p}.{s}!!!!"),
    "J18 blank in the header": _compact(lambda h, p, s: f"{h} .{p}.{s}"),
    # J19
    "J19 two segments": _compact(lambda h, p, _: f"{h}.{p}"),
    "J19 four segments": _compact(lambda h, p, s: f"{h}.{p}.{s}.{h}"),
    "J19 five segments": _compact(lambda h, p, s: f"{h}.{p}.{s}.{h}.{p}"),
    "J19 JSON": _compact(
        lambda h, p, s: json.dumps({"payload": p, "protected": h, "signature": s})
    ),
    "J19 the scheme twice": _compact(lambda h, p, s: f"Bearer {h}.{p}.{s}"),
    "J19 dots": lambda _: "..",
    # J20
    **{
        f"J20 header nested {n}": lambda forge, n=n: forge.sign(_deep(n), forge.claims())  # type: ignore[misc]
        for n in (250, 1000)
    },
    **{
        f"J20 payload nested {n}": lambda forge, n=n: forge.sign(forge.header(), _deep(n))  # type: ignore[misc]
        for n in (250, 1000)
    },
    "J20 a number of 5,000 digits": _raw_claims(
        lambda text: text.replace('"auth_time":', '"x": ' + "9" * 5000 + ', "auth_time":')
    ),
    # J21
    "J21 4,097 characters": lambda _: "a" * 2000 + "." + "b" * 2000 + "." + "c" * 95,
    # J25
    "J25 bound to a key": _claim(cnf={"jkt": "x"}),
    "J25 bound to nothing": _claim(cnf={}),
}
"""Name → how to make it. All fit into a header line."""

ACCEPTED: dict[str, Make] = {
    "as it should be": lambda forge: forge.token(),
    "by the RSA key": lambda forge: forge.sign(
        forge.header("RS256"), forge.claims(), forge.keys["RS256"]
    ),
    "J8 typ AT+JWT": _head(typ="AT+JWT"),
    "J8 typ application/at+jwt": _head(typ="application/at+jwt"),
    "J10 expired within the leeway": _at(iat=-600, exp=-1),
    "J12 us among others": _claim(aud=["other", "drawbridge"]),
    "J12 us alone": _claim(aud="drawbridge"),
}


def _bearer(token: str) -> bytes:
    return b"Authorization: Bearer " + token.encode("utf-8", "surrogateescape")


def _is_challenge(head: bytes) -> bool:
    """Say whether an answer is that of RFC 6750 section 3.1 for a token that is not good."""
    status, *lines = head.decode("latin-1").split("\r\n")
    challenge = [line for line in lines if line.lower().startswith("www-authenticate:")]
    return (
        status.startswith("HTTP/1.1 401 ")
        and len(challenge) == 1
        and 'error="invalid_token"' in challenge[0]
    )


@pytest.mark.parametrize("name", ACCEPTED)
def test_what_all_others_are_made_from_is_accepted(services: Services, name: str) -> None:
    """Otherwise the refusals would prove nothing."""
    token = ACCEPTED[name](services.forge)

    assert services.handshake(_bearer(token)).startswith(b"HTTP/1.1 101 ")
    assert _connected(services, token)


@pytest.mark.parametrize("name", REFUSED)
def test_the_handshake_refuses(services: Services, name: str) -> None:
    """401 with the reason in RFC 6750's words, before the upgrade."""
    assert _is_challenge(services.handshake(_bearer(REFUSED[name](services.forge))))


@pytest.mark.parametrize("name", REFUSED)
def test_the_connect_command_refuses(services: Services, name: str) -> None:
    """3500, or error 109 for a token that was good once, and nothing else."""
    assert not _connected(services, REFUSED[name](services.forge))


@pytest.mark.parametrize("name", REFUSED)
def test_the_token_service_refuses(services: Services, name: str) -> None:
    """401 with the reason in RFC 6750's words."""
    port = httpx2.URL(services.url).port
    assert port is not None
    request = b"GET /users/me HTTP/1.1\r\nHost: auth\r\n%s\r\n\r\n"

    assert _is_challenge(exchange(port, request % _bearer(REFUSED[name](services.forge))))


def _connected(services: Services, token: str) -> bool:
    """Send a token with ``connect``; says whether it is accepted, checks how it is refused."""
    url = f"ws://127.0.0.1:{services.gateway_port}/connection/websocket"
    with connect(url, proxy=None) as socket:
        socket.send(json.dumps({"id": 1, "connect": {"token": token}}))
        try:
            answer = json.loads(socket.recv(timeout=10))
        except ConnectionClosed:
            assert socket.close_code == 3500
            return False
        if "error" in answer:
            assert answer["error"]["code"] == 109
            return False
        return "connect" in answer


# What is no matter of one token's text.


def test_j5_a_flood_of_unknown_kids_fetches_the_keys_once(services: Services) -> None:
    """The issuer must not be hammered on a stranger's behalf."""
    counter = 'auth_http_requests_total{code="200",method="GET",route="/.well-known/jwks.json"}'
    before = services.auth.metrics(counter)
    begin = time.monotonic()

    for number in range(1000):
        token = services.forge.headed(kid=f"unknown-{number}")
        assert _is_challenge(services.handshake(_bearer(token)))

    fetches = services.auth.metrics(counter) - before
    assert fetches <= 1 + (time.monotonic() - begin) / 10


@pytest.fixture
def listener() -> Iterator[tuple[str, list[str]]]:
    """A server of the attacker's, and who has asked it for anything."""
    asked: list[str] = []

    class Handler(http.server.BaseHTTPRequestHandler):
        """Notes every request."""

        def do_GET(self) -> None:
            asked.append(self.path)
            self.send_error(404)

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}/keys", asked
    server.shutdown()
    server.server_close()
    thread.join()


def test_j6_nobody_asks_the_attackers_server(
    services: Services, listener: tuple[str, list[str]]
) -> None:
    """Whatever the header says about where keys are."""
    url, asked = listener

    for member in ("jku", "x5u"):
        token = services.forge.sign(
            services.forge.header(**{member: url}), services.forge.claims(), services.forge.stranger
        )
        assert _is_challenge(services.handshake(_bearer(token)))
        assert not _connected(services, token)

    assert asked == []


def test_j14_different_code_points_are_different_users(services: Services) -> None:
    """Names that look alike must not become one user; in the log they stay on one line."""
    subjects = ["a\u0301", "\u00e1", "\u202eab", "\u0430b", "ab"]
    url = f"ws://127.0.0.1:{services.gateway_port}/connection/websocket"
    seen = set()

    for subject in subjects:
        token = services.forge.token(sub=subject)
        with connect(url, proxy=None) as socket:
            socket.send(json.dumps({"id": 1, "connect": {"token": token}}))
            answer = json.loads(socket.recv(timeout=10))
        seen.add(answer["connect"]["client"])

    assert len(seen) == len(subjects)


def test_j20_huge_segments_are_refused_unread(services: Services) -> None:
    """A header line cannot be that long; a command can nearly be."""
    for token in (
        services.forge.sign(_deep(7_000), services.forge.claims()),
        services.forge.sign(services.forge.header(), _deep(20_000)),
    ):
        assert not _connected(services, token)


@pytest.mark.parametrize(
    ("lines", "status"),
    [
        ([b"Authorization: Bearer " + b"a" * 4097], 401),
        ([b"Authorization: Bearer " + b"a" * 9_000], 401),
        ([b"Authorization: Bearer " + b"a" * 20_000], 431),
        ([b"X-Filler-%d: x" % number for number in range(200)], 431),
    ],
)
def test_j21_long_heads_are_answered_and_closed(
    services: Services, lines: list[bytes], status: int
) -> None:
    """A plain uvicorn would park some of them for ever."""
    assert services.handshake(*lines).startswith(b"HTTP/1.1 %d " % status)


@pytest.mark.parametrize(
    "value",
    [
        b"Bearer \xed\xa0\x80.a.b",
        b"Bearer \xe9.\xe9.\xe9",
        b"Bearer a\x01.b.c",
        b"\xff\xfe",
        b"Bearer \xf0\x9f\x98\x80",
    ],
)
def test_j22_bytes_that_are_no_text_are_refused(services: Services, value: bytes) -> None:
    """400 or 401, and no traceback."""
    status = services.handshake(b"Authorization: " + value).split(b" ")[1]

    assert status in {b"400", b"401"}


def test_j22_a_nul_is_refused(services: Services) -> None:
    """No server may look past it."""
    head = services.handshake(b"Authorization: Bearer a\0b")

    assert not head.startswith(b"HTTP/1.1 101 ")


def test_j26_a_token_counts_from_every_address(services: Services) -> None:
    """It is a bearer token; its jti is in the log with the address."""
    token = services.forge.token()

    for address in ("127.0.0.1", "127.0.0.2"):
        assert services.handshake(_bearer(token), address=address).startswith(b"HTTP/1.1 101 ")


def test_a_basic_header_is_no_bearer(services: Services) -> None:
    """RFC 6750 section 3.1: a challenge."""
    basic = base64.b64encode(services.forge.token().encode())

    assert services.handshake(b"Authorization: Basic " + basic).startswith(b"HTTP/1.1 401 ")
