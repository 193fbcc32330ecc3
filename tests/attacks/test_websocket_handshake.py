"""W: handshakes that must not open a socket, thrown at a gateway as a process.

After each of them ``Door.unharmed`` sees that nobody was harmed. What is tried in every variation
elsewhere is here once, from outside:

==== =====================================================================
W1   also tests/ws_gateway/test_handshake.py, test_bearer.py
W2   also tests/ws_gateway/test_handshake.py
W3   there are no tickets: a ticket in the URL counts for nothing
W6   also tests/ws_gateway/test_handshake.py
W7   also tests/ws_gateway/test_server.py
W8   here by the clock; by a clock of its own in tests/ws_gateway/test_server.py
W29  also tests/ws_gateway/test_extensions.py
W31  also tests/ws_gateway/test_server.py
==== =====================================================================
"""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import ExitStack

import pytest

from tests.attacks.door import PAGE, Door, headers, status
from tests.ws_gateway.raw_server import masked, request
from ws_gateway.frames import TEXT
from ws_gateway.routes.websocket import PATH
from ws_gateway.server import REQUEST_SECONDS

pytestmark = pytest.mark.integration

Lines = Callable[[Door], list[str]]


def _from(origin: str) -> Lines:
    return lambda door: [door.bearer(), f"Origin: {origin}"]


REFUSED: dict[str, tuple[int, str, Lines]] = {
    "W1 Bearer alone": (401, "unauthorized", lambda _: ["Authorization: Bearer"]),
    "W1 two blanks": (401, "unauthorized", lambda d: [f"Authorization: Bearer  {d.token()}"]),
    "W1 Basic": (401, "unauthorized", lambda _: ["Authorization: Basic YTpi"]),
    "W1 two words": (401, "unauthorized", lambda d: [f"Authorization: Bearer {d.token()} x"]),
    "W1 two headers": (400, "bad_request", lambda d: [d.bearer(), d.bearer()]),
    "W1 header and subprotocol": (
        400,
        "bad_request",
        lambda d: [d.bearer(), f"Sec-WebSocket-Protocol: centrifuge-json, bearer.{d.token()}"],
    ),
    **{
        f"W2 {origin}": (403, "forbidden", _from(origin))
        for origin in (
            "https://evil.example",
            "null",
            f"{PAGE}.evil.io",
            f"{PAGE}:8443",
            PAGE.replace("https", "http"),
        )
    },
    "W6 unknown subprotocol": (
        400,
        "bad_request",
        lambda d: [d.bearer(), "Sec-WebSocket-Protocol: chat"],
    ),
    "W6 a token alone": (
        400,
        "bad_request",
        lambda d: [f"Sec-WebSocket-Protocol: bearer.{d.token()}"],
    ),
    "W6 a subprotocol twice": (
        400,
        "bad_request",
        lambda d: [d.bearer(), "Sec-WebSocket-Protocol: centrifuge-json, centrifuge-json"],
    ),
}


@pytest.mark.parametrize("name", REFUSED)
def test_a_bad_credential_is_refused_and_counted(door: Door, name: str) -> None:
    """W1, W2, W6: before the upgrade, with nothing of what was sent in the answer."""
    expected, result, lines = REFUSED[name]

    with door.counts(f'gateway_handshakes_total{{result="{result}"}}'):
        head = door.shake(*lines(door))

    assert status(head) == expected
    assert ("www-authenticate" in headers(head)) == (expected == 401)
    assert not [secret for secret in door.secrets if secret.encode() in head]


def test_w1_without_a_credential_it_opens_and_says_nothing(door: Door) -> None:
    """Who it is comes with ``connect``, or it does not stay."""
    with door.open() as peer:
        assert peer.ask({"id": 1, "connect": {}})["error"]["code"] == 109
        peer.say({"id": 2, "subscribe": {"channel": "here"}})
        assert peer.closed() == 3501


def test_w2_a_missing_origin_is_enough_for_a_header_and_not_for_a_cookie(door: Door) -> None:
    """A browser always names the origin of a handshake."""
    cookie = f"Cookie: __Host-drawbridge={door.token()}"
    with door.open(cookie) as without, door.open(cookie, f"Origin: {PAGE}") as own:
        assert without.ask({"id": 1, "connect": {}})["error"]["code"] == 109
        assert "connect" in own.ask({"id": 1, "connect": {}})
    with door.enter() as header:
        assert "connect" in header.ask({"id": 1, "connect": {}})


def test_w3_a_ticket_opens_nothing(door: Door) -> None:
    """There is no such thing here; a good token in its place is not even looked at."""
    with door.open(target=f"{PATH}?ticket={door.token()}") as peer:
        assert peer.ask({"id": 1, "connect": {}})["error"]["code"] == 109


def test_w4_a_token_in_the_url_is_refused_and_is_in_no_log(door: Door) -> None:
    """Every hop would write it down."""
    with door.counts('gateway_handshakes_total{result="bad_request"}', 2):
        for name in ("access_token", "%61ccess_token"):
            assert status(door.shake(target=f"{PATH}?{name}={door.token()}")) == 400


def test_w6_the_answer_names_the_real_subprotocol_only(door: Door) -> None:
    """Never the token, never what was not offered."""
    token = door.token()
    answers = [
        headers(door.shake(*lines)).get("sec-websocket-protocol")
        for lines in (
            [f"Sec-WebSocket-Protocol: centrifuge-json, bearer.{token}"],
            [f"Sec-WebSocket-Protocol: bearer.{token}, centrifuge-protobuf"],
            [door.bearer()],
        )
    ]

    assert answers == ["centrifuge-json", "centrifuge-protobuf", None]


@pytest.mark.parametrize(
    ("expected", "head"),
    [
        (426, request(PATH, "Sec-WebSocket-Version: 8", without=["Sec-WebSocket-Version"])),
        (426, request(PATH, without=["Sec-WebSocket-Version"])),
        (400, request(PATH, without=["Sec-WebSocket-Key"])),
        (400, request(PATH, "Sec-WebSocket-Key: short", without=["Sec-WebSocket-Key"])),
        (426, request(PATH, "Upgrade: h2c", without=["Upgrade"])),
        (405, request(PATH, method="POST")),
        (400, request(PATH, version="1.0")),
        (400, request(PATH, "Content-Length: 4") + "body"),
    ],
    ids=[*("version", "no version", "no key", "short key", "h2c", "POST", "HTTP 1.0", "body")],
)
def test_w7_what_is_no_handshake_is_told_why(door: Door, expected: int, head: str) -> None:
    """RFC 6455 section 4.2.1."""
    with door.peer() as peer:
        peer.send(head)

        assert status(peer.head()) == expected


def test_w8_whoever_dawdles_is_cut_while_others_come_in(door: Door) -> None:
    """Nothing, half a line, a header byte by byte, a TLS hello: none outlives the deadline."""
    began = time.monotonic()
    with ExitStack() as stack:
        silent, partial, hello, *dribbling = (stack.enter_context(door.peer()) for _ in range(43))
        idle = [stack.enter_context(door.peer()) for _ in range(200)]
        partial.send("GET /conn")
        hello.send(b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03")
        for peer in dribbling:
            peer.send(f"GET {PATH} HTTP/1.1\r\nHost: gateway\r\nX-Slow: ")
        with door.enter() as real:
            assert "connect" in real.ask({"id": 1, "connect": {}})
        while time.monotonic() < began + REQUEST_SECONDS / 2:
            for peer in dribbling:
                peer.send("x")
            time.sleep(0.25)
        answers = [peer.gone() for peer in (silent, partial, *dribbling, *idle)]

        assert all(answer.startswith(b"HTTP/1.1 408 ") for answer in answers)
        assert hello.gone().startswith(b"HTTP/1.1 400 ")


@pytest.mark.parametrize(
    "offer",
    [
        "permessage-deflate; client_max_window_bits=99",
        'permessage-deflate; server_max_window_bits=7; x="',
        "x-unknown; a=b, permessage-bzip2",
        ",,,;;;===",
        "permessage-deflate" + "; a" * 2000,
    ],
    ids=["window", "quote", "unknown", "signs", "long"],
)
def test_w29_odd_extensions_are_negotiated_away(door: Door, offer: str) -> None:
    """The socket opens without."""
    head = door.shake(door.bearer(), f"Sec-WebSocket-Extensions: {offer}")

    assert status(head) == 101
    assert "sec-websocket-extensions" not in headers(head)


@pytest.mark.parametrize(
    ("target", "expected"),
    [
        ("/\xe9", 400),
        ("/connection/../connection/websocket", 404),
        ("/%2e%2e/connection/websocket", 404),
        ("//connection/websocket", 404),
        ("/connection/websocket/", 404),
        ("/" + "x" * 65_536, 431),
        ("/%00", 404),
        ("/%ff", 404),
    ],
    ids=["Latin", "dots", "encoded", "double", "slash", "long", "NUL", "no UTF-8"],
)
def test_w30_odd_targets_are_nothing(door: Door, target: str, expected: int) -> None:
    """400, 404 or 431 with a word, and quickly."""
    assert status(door.shake(door.bearer(), target=target)) == expected


@pytest.mark.parametrize(
    "lines",
    [
        ["Content-Length: 4", "Transfer-Encoding: chunked"],
        ["Content-Length: 4", "Content-Length: 5"],
        ["Transfer-Encoding: chunked"],
        ["Host: another"],
    ],
    ids=["both", "two lengths", "chunked", "two hosts"],
)
def test_w31_what_two_servers_could_read_differently_is_refused(
    door: Door, lines: list[str]
) -> None:
    """RFC 9112 section 11.2."""
    assert status(door.shake(door.bearer(), *lines)) == 400


def test_w31_what_follows_the_upgrade_is_frames(door: Door) -> None:
    """A second request in the same segment is a broken frame; a message is a message."""
    hidden = request("/", "X: y")
    with door.peer() as peer:
        peer.send(request(PATH, door.bearer()), hidden)
        assert status(peer.head()) == 101
        assert peer.closed() == 1002
    with door.peer() as peer:
        peer.send(request(PATH, door.bearer()), masked(TEXT, b'{"id":1,"connect":{}}'))
        assert status(peer.head()) == 101
        assert "connect" in peer.hear()
