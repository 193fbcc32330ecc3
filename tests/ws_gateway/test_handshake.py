"""What a handshake may ask for, and what it is told otherwise."""

from __future__ import annotations

import pytest
from hypothesis import given, strategies as st

from ws_gateway.exceptions import ConfigurationError, HandshakeRejected
from ws_gateway.handshake import (
    Offer,
    Source,
    challenge,
    check_origins,
    read_handshake,
    read_request,
)

ORIGIN = "https://app.example.com"
ORIGINS = frozenset({ORIGIN, "http://localhost:8000"})
HOME = (b"origin", ORIGIN.encode())
JSON_NAME = "centrifuge-json"
PROTOBUF_NAME = "centrifuge-protobuf"


def offer(*headers: tuple[bytes, bytes], query: bytes = b"", query_token: bool = False) -> Offer:
    """Read a WebSocket handshake."""
    return read_handshake(headers, query, origins=ORIGINS, query_token=query_token)


def request(*headers: tuple[bytes, bytes], method: str = "GET", query: bytes = b"") -> Offer:
    """Read an HTTP request."""
    return read_request(headers, query, method=method, origins=ORIGINS)


def refused(
    *headers: tuple[bytes, bytes], query: bytes = b"", query_token: bool = False
) -> HandshakeRejected:
    """Return the refusal of a WebSocket handshake."""
    with pytest.raises(HandshakeRejected) as caught:
        offer(*headers, query=query, query_token=query_token)
    return caught.value


def authorization(value: bytes) -> tuple[bytes, bytes]:
    """Return an Authorization header."""
    return (b"authorization", value)


def protocols(value: bytes) -> tuple[bytes, bytes]:
    """Return a Sec-WebSocket-Protocol header."""
    return (b"sec-websocket-protocol", value)


def cookie(value: bytes) -> tuple[bytes, bytes]:
    """Return a Cookie header."""
    return (b"cookie", value)


class TestOrigin:
    """RFC 6455 section 10.2, and design: exactly in the list, whatever the credential."""

    @pytest.mark.parametrize("origin", sorted(ORIGINS))
    def test_listed_origin_is_accepted(self, origin: str) -> None:
        """Each entry of the list lets its own pages in."""
        assert offer((b"origin", origin.encode())).source is Source.NONE

    @pytest.mark.parametrize(
        "origin",
        [
            b"https://evil.example",
            b"null",
            b"https://app.example.com.evil.io",
            b"https://app.example.com:444",
            b"https://app.example.com:443",
            b"http://app.example.com",
            b"https://APP.example.com",
            b"https://app.example.com/",
            b"https://sub.app.example.com",
            b"app.example.com",
            b"",
            b"https://app.example.com\x00",
            b"https://app.example.com, https://app.example.com",
            b"https://\xff",
        ],
    )
    @pytest.mark.parametrize("credential", [None, authorization(b"Bearer good"), cookie(b"a=b")])
    def test_any_other_origin_is_forbidden(
        self, origin: bytes, credential: tuple[bytes, bytes] | None
    ) -> None:
        """W2: foreign, null, suffix, port, scheme, case; with and without a credential."""
        headers = [(b"origin", origin), *([credential] if credential else [])]

        assert refused(*headers).status == 403

    def test_several_origins_are_a_bad_request(self) -> None:
        """Even two equal ones: a browser sends one (RFC 6454 section 7.3)."""
        assert refused(HOME, HOME).status == 400

    def test_origin_is_judged_before_the_credential(self) -> None:
        """A foreign page learns nothing about the token it sent."""
        foreign = (b"origin", b"https://evil.example")

        assert refused(foreign, authorization(b"Basic x")).status == 403

    def test_missing_origin_is_accepted_with_a_header(self) -> None:
        """Services and mobile SDKs send none."""
        assert offer(authorization(b"Bearer good")).token == "good"

    @pytest.mark.parametrize(
        "entry",
        [
            "https://app.example.com/",
            "https://App.example.com",
            "app.example.com",
            "*",
            "null",
            "https://app.example.com:443",
            "http://app.example.com:80",
            "https://*.example.com",
            "",
        ],
    )
    def test_list_refuses_what_no_browser_sends(self, entry: str) -> None:
        """Such an entry would silently allow nobody, so the start stops."""
        with pytest.raises(ConfigurationError, match="origins"):
            check_origins([entry])

    def test_list_takes_ports_and_addresses(self) -> None:
        """Spelled as RFC 6454 section 6.2 serialises them."""
        entries = {"https://localhost:8443", "http://[::1]:8000", "capacitor://localhost"}

        assert check_origins(entries) == entries


class TestSubprotocol:
    """RFC 6455 section 4.1 and the design's subprotocols."""

    def test_none_offered_means_none_answered(self) -> None:
        """Without the header the codec is JSON and the answer names nothing."""
        assert offer().subprotocol is None

    @pytest.mark.parametrize("value", [b"", b"  ", b",", b" , ,"])
    def test_empty_header_counts_as_none(self, value: bytes) -> None:
        """Older Python SDKs send an empty one."""
        assert offer(protocols(value)).subprotocol is None

    @pytest.mark.parametrize(
        "headers",
        [
            [b"centrifuge-json"],
            [b"x, centrifuge-json"],
            [b"x", b"centrifuge-json"],
            [b",centrifuge-json\t,"],
        ],
    )
    def test_supported_name_is_chosen(self, headers: list[bytes]) -> None:
        """Several headers and lists are one list; unknown names are passed over."""
        assert offer(*map(protocols, headers)).subprotocol == JSON_NAME

    @pytest.mark.parametrize(
        "value",
        [
            b"x",
            b"centrifuge-protobuf2",
            b"Centrifuge-JSON",
            b"bearer.token",
            b"x, bearer.token",
            b"Bearer.token",
            b"bearer",
        ],
    )
    def test_only_unknown_names_are_a_bad_request(self, value: bytes) -> None:
        """W6: no answer would be accepted by the browser, and the token is never sent back."""
        assert refused(protocols(value)).status == 400

    @pytest.mark.parametrize(
        "value",
        [
            b"centrifuge-json, centrifuge-json",
            b"x, x, centrifuge-json",
            b"centrifuge-json, bearer.",
            b"bearer.",
            b"centrifuge-json, bearer.a, bearer.b",
            b"centrifuge-json, bearer.a, bearer.a",
            b"centrifuge-json, bearer.a, bearer.",
            b"centrifuge-json, a b",
            b"centrifuge-json, a\x00",
            b"centrifuge-json, bearer.\xe9",
            b"centrifuge-json, bearer.a=",
        ],
    )
    def test_malformed_list_is_a_bad_request(self, value: bytes) -> None:
        """Duplicates, empty or double bearers, characters no token may have."""
        assert refused(protocols(value)).status == 400

    def test_token_among_the_names_is_the_credential(self) -> None:
        """The way of browsers: answered with the other name, never with the token."""
        found = offer(HOME, protocols(b"bearer.aa.bb.cc, centrifuge-json"))

        assert (found.subprotocol, found.token) == (JSON_NAME, "aa.bb.cc")
        assert found.source is Source.SUBPROTOCOL

    def test_clients_order_decides(self) -> None:
        """Of two supported names the first one offered is taken."""
        found = read_handshake([protocols(b"b, a")], b"", origins=ORIGINS, subprotocols=("a", "b"))

        assert found.subprotocol == "b"

    def test_protobuf_is_chosen_by_its_name(self) -> None:
        """As SDKs offer it."""
        assert offer(protocols(b"centrifuge-protobuf")).subprotocol == PROTOBUF_NAME

    @pytest.mark.parametrize(
        ("query", "protobuf"),
        [
            (b"", False),
            (b"cf_protocol=protobuf", True),
            (b"format=protobuf", True),
            (b"x=1&format=protobuf&y", True),
            (b"cf_protocol=json", False),
            (b"cf_protocol=Protobuf", False),
            (b"format=", False),
        ],
    )
    def test_protobuf_can_be_asked_for_in_the_url(self, query: bytes, protobuf: bool) -> None:
        """By clients that cannot name a subprotocol (protocol section 1)."""
        assert offer(query=query).protobuf is protobuf
        assert offer(protocols(b""), query=query).protobuf is protobuf

    def test_subprotocol_beats_the_url(self) -> None:
        """The answer names it, so it must hold."""
        found = offer(protocols(b"centrifuge-json"), query=b"cf_protocol=protobuf")

        assert found.subprotocol == JSON_NAME
        assert not found.protobuf

    def test_bearer_name_is_never_a_subprotocol(self) -> None:
        """Not even where somebody lists it as supported."""
        with pytest.raises(HandshakeRejected):
            read_handshake(
                [protocols(b"bearer.x")], b"", origins=ORIGINS, subprotocols=("bearer.x",)
            )


class TestAuthorization:
    """RFC 6750 section 2.1 and W1."""

    @pytest.mark.parametrize("value", [b"Bearer a.b.c", b"bearer a.b.c", b"BEARER a.b.c"])
    def test_scheme_is_case_insensitive(self, value: bytes) -> None:
        """RFC 9110 section 11.1."""
        found = offer(authorization(value))

        assert (found.token, found.source) == ("a.b.c", Source.HEADER)

    @pytest.mark.parametrize(
        "value",
        [
            b"Bearer",
            b"Bearer ",
            b"Bearer  x",
            b"Bearer a b",
            b"Bearer a,b",
            b"Bearer Bearer a",
            b"Bearer a\x00b",
            b"Bearer \xe9",
            b"Bearer \xed\xa0\x80",
            b"Bearer =",
        ],
    )
    def test_malformed_bearer_is_an_invalid_token(self, value: bytes) -> None:
        """W1 and J22: a refusal with a challenge, never a traceback."""
        error = refused(authorization(value))

        assert error.status == 401
        assert error.headers == challenge("invalid_token")

    @pytest.mark.parametrize("value", [b"", b"Basic YTpi", b"Digest x", b"Bearer\tx", b"\x00"])
    def test_other_scheme_gets_a_bare_challenge(self, value: bytes) -> None:
        """RFC 6750 section 3.1: no error code where no bearer token was used."""
        error = refused(authorization(value))

        assert error.status == 401
        assert error.headers == {"WWW-Authenticate": 'Bearer realm="drawbridge"'}

    @pytest.mark.parametrize(
        "headers",
        [
            [authorization(b"Bearer a"), authorization(b"Bearer a")],
            [authorization(b"Bearer a"), authorization(b"Basic a")],
            [authorization(b"Bearer a"), protocols(b"centrifuge-json, bearer.a")],
            [authorization(b"Basic a"), protocols(b"centrifuge-json, bearer.a")],
        ],
    )
    def test_two_credentials_are_a_bad_request(self, headers: list[tuple[bytes, bytes]]) -> None:
        """RFC 6750 section 2: one method per request."""
        assert refused(*headers).status == 400


class TestCookie:
    """The browser's cookie, which counts on an allowed origin only."""

    @pytest.mark.parametrize(
        "value",
        [
            b"__Host-drawbridge=a.b.c",
            b"x=1; __Host-drawbridge=a.b.c; y=2",
            b"__Host-drawbridge=a.b.c;",
            b" __Host-drawbridge = a.b.c ",
        ],
    )
    def test_cookie_is_found(self, value: bytes) -> None:
        """Beside other cookies too."""
        found = offer(HOME, cookie(value))

        assert (found.token, found.source, found.bad_cookie) == ("a.b.c", Source.COOKIE, False)

    def test_cookies_of_two_headers_are_one_list(self) -> None:
        """HTTP/2 splits them (RFC 9113 section 8.2.3)."""
        assert offer(HOME, cookie(b"x=1"), cookie(b"__Host-drawbridge=a")).token == "a"

    @pytest.mark.parametrize(
        "headers",
        [
            [cookie(b"__Host-drawbridge=a")],
            [HOME, cookie(b"__Host-drawbridge=a; __Host-drawbridge=a")],
            [HOME, cookie(b"__Host-drawbridge=a"), cookie(b"__Host-drawbridge=b")],
            [HOME, cookie(b"__Host-drawbridge=")],
            [HOME, cookie(b'__Host-drawbridge="a"')],
            [HOME, cookie(b"__Host-drawbridge=a b")],
            [HOME, cookie(b"__Host-drawbridge=\xff")],
        ],
    )
    def test_unusable_cookie_counts_as_none(self, headers: list[tuple[bytes, bytes]]) -> None:
        """No origin, two of them, no token: the socket opens, but its owner is no guest."""
        found = offer(*headers)

        assert (found.token, found.source, found.bad_cookie) == (None, Source.NONE, True)

    @pytest.mark.parametrize(
        "value",
        [b"drawbridge=a", b"__host-drawbridge=a", b"\xa0__Host-drawbridge=a", b"__Host-drawbridge"],
    )
    def test_other_names_are_not_ours(self, value: bytes) -> None:
        """Browsers protect the prefix for this very name only."""
        found = offer(HOME, cookie(value))

        assert (found.source, found.bad_cookie) == (Source.NONE, False)

    @pytest.mark.parametrize(
        ("headers", "source"),
        [
            ([authorization(b"Bearer t")], Source.HEADER),
            ([protocols(b"centrifuge-json, bearer.t")], Source.SUBPROTOCOL),
        ],
    )
    def test_any_other_credential_beats_it(
        self, headers: list[tuple[bytes, bytes]], source: Source
    ) -> None:
        """The cookie comes unasked; the others were meant."""
        found = offer(HOME, cookie(b"__Host-drawbridge=c"), *headers)

        assert (found.token, found.source) == ("t", source)


class TestQuery:
    """``access_token`` in the URL and the client's options."""

    @pytest.mark.parametrize(
        "query", [b"access_token=a", b"x=1&access_token=", b"access%5Ftoken=a", b"access_token"]
    )
    def test_token_in_the_url_is_refused(self, query: bytes) -> None:
        """W4: off unless switched on, however it is encoded."""
        assert refused(query=query).status == 400

    def test_switch_accepts_it(self) -> None:
        """GATEWAY_QUERY_TOKEN=1."""
        found = offer(HOME, query=b"access_token=a.b.c", query_token=True)

        assert (found.token, found.source) == ("a.b.c", Source.QUERY)

    @pytest.mark.parametrize(
        ("query", "headers"),
        [
            (b"access_token=a&access_token=a", []),
            (b"access_token=", []),
            (b"access_token=a", [authorization(b"Bearer a")]),
            (b"access_token=a", [protocols(b"centrifuge-json, bearer.a")]),
        ],
    )
    def test_url_is_one_place_among_others(
        self, query: bytes, headers: list[tuple[bytes, bytes]]
    ) -> None:
        """Twice, empty or beside another credential: 400 even where switched on."""
        assert refused(*headers, query=query, query_token=True).status == 400

    @pytest.mark.parametrize(
        ("query", "wanted"),
        [
            (b"cf_ws_frame_ping_pong=true", True),
            (b"cf_ws_frame_ping_pong=false", False),
            (b"cf_ws_frame_ping_pong=TRUE", False),
            (b"cf_ws_frame_ping_pong=true&cf_ws_frame_ping_pong=true", False),
            (b"", False),
        ],
    )
    def test_native_ping_is_asked_for(self, query: bytes, wanted: bool) -> None:
        """The SDK option that replaces the protocol's pings by WebSocket's."""
        assert offer(query=query).native_ping is wanted

    def test_endless_query_is_a_bad_request(self) -> None:
        """Its parsing is bounded."""
        assert refused(query=b"a=1&" * 1000).status == 400


class TestRequest:
    """The same rules on plain HTTP."""

    @pytest.mark.parametrize("method", ["GET", "HEAD", "OPTIONS"])
    def test_cookie_counts_without_origin_where_nothing_changes(self, method: str) -> None:
        """Navigations carry no Origin; SameSite=Strict keeps other sites out."""
        assert request(cookie(b"__Host-drawbridge=a"), method=method).source is Source.COOKIE

    @pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "PATCH", "get", "X"])
    def test_cookie_needs_an_origin_where_something_changes(self, method: str) -> None:
        """Otherwise a form on another page could act for its visitor."""
        found = request(cookie(b"__Host-drawbridge=a"), method=method)

        assert (found.source, found.bad_cookie) == (Source.NONE, True)

    def test_cookie_counts_with_an_allowed_origin(self) -> None:
        """The front's own pages."""
        found = request(HOME, cookie(b"__Host-drawbridge=a"), method="POST")

        assert found.source is Source.COOKIE

    def test_foreign_origin_is_forbidden(self) -> None:
        """As at the handshake, whatever the credential."""
        with pytest.raises(HandshakeRejected) as caught:
            request((b"origin", b"https://evil.example"), authorization(b"Bearer a"))

        assert caught.value.status == 403

    def test_subprotocols_mean_nothing(self) -> None:
        """They belong to the upgrade."""
        assert request(protocols(b"bearer.a, bearer.b")).token is None

    def test_header_is_read(self) -> None:
        """The common case."""
        assert request(authorization(b"Bearer a"), method="POST").token == "a"


def test_offer_does_not_show_its_token() -> None:
    """No log line may hold a token, not even by accident."""
    assert "secret" not in repr(offer(authorization(b"Bearer secret")))


def test_challenge_names_the_scope() -> None:
    """RFC 6750 section 3."""
    assert challenge("insufficient_scope", scope="connect") == {
        "WWW-Authenticate": 'Bearer realm="drawbridge", error="insufficient_scope", scope="connect"'
    }


NAMES = st.sampled_from([b"authorization", b"cookie", b"origin", b"sec-websocket-protocol"])
PIECES = st.sampled_from(
    [
        *(
            b"Bearer ",
            b"bearer.",
            b"centrifuge-json",
            b"centrifuge-protobuf",
            b"__Host-drawbridge=",
            b"access_token=",
        ),
        *(ORIGIN.encode(), b"a.b.c", b",", b";", b" ", b"=", b"&", b"%", b"\x00", b"\xff"),
    ]
)
VALUES = st.binary(max_size=40) | st.lists(PIECES, max_size=8).map(b"".join)


@given(
    headers=st.lists(st.tuples(NAMES | st.binary(max_size=10), VALUES), max_size=6),
    query=VALUES,
    query_token=st.booleans(),
)
def test_any_handshake_is_read_or_rejected(
    headers: list[tuple[bytes, bytes]], query: bytes, query_token: bool
) -> None:
    """Arbitrary bytes raise nothing but HandshakeRejected, with a status of the client's fault."""
    rejected = None
    try:
        found = offer(*headers, query=query, query_token=query_token)
        request(*headers, query=query)
    except HandshakeRejected as error:
        rejected = error
    else:
        assert (found.token is None) is (found.source is Source.NONE)
        assert found.subprotocol in {None, JSON_NAME, PROTOBUF_NAME}
    if rejected is not None:
        assert rejected.status in {400, 401, 403}
        assert ("WWW-Authenticate" in rejected.headers) is (rejected.status == 401)
