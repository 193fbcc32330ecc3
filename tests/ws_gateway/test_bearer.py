"""The dependency on HTTP and WebSocket routes: what it returns, refuses and leaves behind."""

from __future__ import annotations

import gc
import json
import time
from collections.abc import Awaitable, Callable, Iterator
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from fastapi import Depends, FastAPI, Security, WebSocket
from httpx2 import Response
from jose import jwk, jwt
from jose.backends.base import Key
from starlette.requests import HTTPConnection
from starlette.testclient import TestClient, WebSocketDenialResponse

from ws_gateway.bearer import (
    Admission,
    Credentials,
    Issuer,
    OAuth2WebSocketPasswordBearer,
    Source,
    Verifier,
)
from ws_gateway.exceptions import ConfigurationError, HandshakeRejected, InvalidToken
from ws_gateway.revocations.deny_set import Kind, Revocation
from ws_gateway.revocations.log import RevocationLog

ORIGIN = "https://app.example.com"
KEY: Key = jwk.construct(ec.generate_private_key(ec.SECP256R1()), "ES256")  # type: ignore[arg-type]
ISSUER = Issuer(
    issuer="https://issuer.example", jwks_url="https://issuer.example/k", audience="drawbridge"
)
INVALID = 'Bearer realm="drawbridge", error="invalid_token"'
NO_TOKEN = 'Bearer realm="drawbridge"'


def mint(**changes: object) -> str:
    """Return a token of the issuer, with these claims changed."""
    now = int(time.time())
    claims: dict[str, Any] = {
        "iss": ISSUER.issuer,
        "aud": ["drawbridge"],
        # Longer than all tests take: some tokens are made when this module is read.
        "exp": now + 43_200,
        "iat": now,
        "jti": "token-1",
        "sub": "alice",
        "client_id": "chat",
        "scope": "connect",
    }
    return jwt.encode(
        claims | changes, KEY, algorithm="ES256", headers={"typ": "at+jwt", "kid": "k"}
    )


GOOD = mint()
EXPIRED = mint(iat=int(time.time()) - 700, exp=int(time.time()) - 100)


async def publish(_url: str) -> bytes:
    """Answer with the issuer's key set."""
    return json.dumps({"keys": [KEY.public_key().to_dict() | {"kid": "k"}]}).encode()


async def be_away(_url: str) -> bytes:
    """Not answer."""
    raise OSError


def make_verifier(
    fetch: Callable[[str], Awaitable[bytes]] = publish,
    revocations: dict[str, RevocationLog] | None = None,
) -> Verifier:
    """Return a verifier of the one issuer."""
    return Verifier([ISSUER], origins=[ORIGIN], fetch=fetch, revocations=revocations)


def make_log(kind: Kind | None = None) -> RevocationLog:
    """Return the issuer's log, unread, or with everything revoked in one way."""
    log = RevocationLog(ISSUER.issuer, stale_seconds=10)
    if kind is not None:
        values = dict(zip(Kind, ("token-1", "session-1", "alice", "chat", "k"), strict=True))
        soon = int(time.time()) + 600
        log.add([Revocation(kind=kind, value=values[kind], before=soon, until=soon)])
        log.read(log.now())
    return log


def make_app(**options: Any) -> FastAPI:  # noqa: ANN401
    """Return an application whose routes use the dependency with these options."""
    app = FastAPI()
    app.state.verifier = make_verifier()
    bearer = OAuth2WebSocketPasswordBearer(tokenUrl="/token", **options)

    # Annotated would be read where the local name ``bearer`` is not known.
    @app.get("/who")
    @app.post("/who")
    async def who(
        credentials: Credentials | None = Depends(bearer),  # noqa: B008, FAST002
    ) -> str | None:
        return credentials.user if credentials else None

    @app.get("/admin")
    async def admin(
        credentials: Credentials = Security(bearer, scopes=["api"]),  # noqa: B008, FAST002
    ) -> str:
        return credentials.user

    @app.websocket("/socket")
    async def socket(
        websocket: WebSocket,
        credentials: Credentials | None = Depends(bearer),  # noqa: B008
    ) -> None:
        await websocket.accept(subprotocol=websocket.state.admission.subprotocol)
        await websocket.send_text(credentials.user if credentials else "nobody")
        await websocket.close()

    return app


@pytest.fixture
def app() -> FastAPI:
    """An application with the default options."""
    return make_app()


@pytest.fixture
def client(app: FastAPI) -> Iterator[TestClient]:
    """Its client."""
    with TestClient(app) as client:
        yield client


@pytest.fixture
def lenient() -> Iterator[TestClient]:
    """The client of an application that lets everybody in, as the gateway's own door does."""
    with TestClient(make_app(auto_error=False)) as client:
        yield client


def header(token: str) -> dict[str, str]:
    """Return the header that carries a token."""
    return {"Authorization": f"Bearer {token}"}


def cookie(token: str, **headers: str) -> dict[str, str]:
    """Return the headers of a browser that has a cookie."""
    return {"Cookie": f"__Host-drawbridge={token}", **headers}


def refusal(client: TestClient, path: str, headers: dict[str, str]) -> Response:
    """Return the refusal of a WebSocket handshake or of a GET."""
    if not path.startswith("/socket"):
        response: Response = client.get(path, headers=headers)
        return response
    with (
        pytest.raises(WebSocketDenialResponse) as denied,
        client.websocket_connect(path, headers=headers),
    ):
        pass
    return denied.value


def greeting(client: TestClient, headers: dict[str, str]) -> str:
    """Return what the socket says first."""
    with client.websocket_connect("/socket", headers=headers) as socket:
        return socket.receive_text()


@pytest.mark.parametrize("path", ["/who", "/socket"])
class TestRefusal:
    """The same answers on both kinds of routes, before anything is accepted."""

    def test_no_credential(self, client: TestClient, path: str) -> None:
        """RFC 6750 section 3.1: a challenge without an error."""
        answer = refusal(client, path, {})

        assert answer.status_code == 401
        assert answer.headers["WWW-Authenticate"] == NO_TOKEN

    @pytest.mark.parametrize(
        "value",
        [f"Bearer {GOOD}x", f"Bearer {EXPIRED}", "Bearer x", "Bearer", "Bearer  x", "Bearer a b"],
    )
    def test_bad_token(self, client: TestClient, path: str, value: str) -> None:
        """W1: one answer, whatever is wrong with it."""
        answer = refusal(client, path, {"Authorization": value})

        assert answer.status_code == 401
        assert answer.headers["WWW-Authenticate"] == INVALID

    def test_bad_token_where_none_is_needed(self, lenient: TestClient, path: str) -> None:
        """Without ``auto_error`` a bad one is refused all the same."""
        assert refusal(lenient, path, header("x")).status_code == 401

    def test_basic(self, client: TestClient, path: str) -> None:
        """Another scheme is no bearer token."""
        answer = refusal(client, path, {"Authorization": "Basic YTpi"})

        assert answer.headers["WWW-Authenticate"] == NO_TOKEN

    @pytest.mark.parametrize("origin", ["https://evil.example", "null", f"{ORIGIN}.evil.io"])
    def test_foreign_origin(self, client: TestClient, path: str, origin: str) -> None:
        """W2: even with a good token."""
        answer = refusal(client, path, {"Origin": origin, **header(GOOD)})

        assert answer.status_code == 403

    def test_missing_scope(self, client: TestClient, path: str) -> None:
        """RFC 6750 section 3.1: insufficient_scope, and which one is missing."""
        answer = refusal(client, path, header(mint(scope="api")))

        assert answer.status_code == 403
        assert answer.headers["WWW-Authenticate"] == (
            'Bearer realm="drawbridge", error="insufficient_scope", scope="connect"'
        )

    def test_unreachable_keys(self, app: FastAPI, client: TestClient, path: str) -> None:
        """Nothing is said about the token; the client should come again."""
        app.state.verifier = make_verifier(be_away)

        answer = refusal(client, path, header(GOOD))

        assert answer.status_code == 503
        assert answer.headers["Retry-After"] == "1"

    def test_unread_revocations(self, app: FastAPI, client: TestClient, path: str) -> None:
        """Nobody can tell whether the token is still good."""
        app.state.verifier = make_verifier(revocations={ISSUER.issuer: make_log()})

        answer = refusal(client, path, header(GOOD))

        assert answer.status_code == 503
        assert answer.headers["Retry-After"] == "1"

    @pytest.mark.parametrize("kind", list(Kind))
    def test_revoked_token(self, app: FastAPI, client: TestClient, path: str, kind: Kind) -> None:
        """J24: as any other bad token, before the upgrade."""
        app.state.verifier = make_verifier(revocations={ISSUER.issuer: make_log(kind)})

        answer = refusal(client, path, header(mint(sid="session-1")))

        assert answer.status_code == 401
        assert 'error="invalid_token"' in answer.headers["WWW-Authenticate"]

    def test_token_in_the_url(self, client: TestClient, path: str) -> None:
        """W4: it is already in a log by now."""
        assert refusal(client, f"{path}?access_token={GOOD}", {}).status_code == 400


class TestWebSocket:
    """The handshake."""

    def test_header(self, client: TestClient) -> None:
        """Services and the command line."""
        assert greeting(client, header(GOOD)) == "alice"

    def test_subprotocol(self, client: TestClient) -> None:
        """Browsers: answered with the other name, never with the token."""
        with client.websocket_connect(
            "/socket", subprotocols=["centrifuge-json", f"bearer.{GOOD}"]
        ) as socket:
            assert socket.accepted_subprotocol == "centrifuge-json"

    def test_own_subprotocols(self) -> None:
        """An endpoint of one's own speaks its own protocol."""
        client = TestClient(make_app(subprotocols=["news.v1"]))

        with client.websocket_connect(
            "/socket", subprotocols=[f"bearer.{GOOD}", "news.v1"]
        ) as socket:
            assert socket.accepted_subprotocol == "news.v1"

    def test_header_and_subprotocol(self, client: TestClient) -> None:
        """W1: two credentials, even if they are the same."""
        headers = {
            "Sec-WebSocket-Protocol": f"centrifuge-json, bearer.{GOOD}",
            **header(GOOD),
        }

        assert refusal(client, "/socket", headers).status_code == 400

    def test_cookie(self, client: TestClient) -> None:
        """Browsers on the front's origin."""
        assert greeting(client, cookie(GOOD, Origin=ORIGIN)) == "alice"

    def test_query(self) -> None:
        """Only where switched on."""
        client = TestClient(make_app(query_token=True))

        with client.websocket_connect(f"/socket?access_token={GOOD}") as socket:
            assert socket.receive_text() == "alice"


class TestBadCookie:
    """A browser sends it unasked, so it counts as none."""

    @pytest.mark.parametrize("token", [EXPIRED, "x", GOOD + "x"])
    def test_socket_opens(self, lenient: TestClient, token: str) -> None:
        """The page can renew its log-in and ``connect`` then."""
        assert greeting(lenient, cookie(token, Origin=ORIGIN)) == "nobody"

    def test_without_origin(self, lenient: TestClient) -> None:
        """No browser sent this."""
        assert greeting(lenient, cookie(GOOD)) == "nobody"

    def test_is_no_credential(self, client: TestClient) -> None:
        """Where one is needed, the answer is that of none."""
        answer = refusal(client, "/socket", cookie(EXPIRED, Origin=ORIGIN))

        assert answer.status_code == 401
        assert answer.headers["WWW-Authenticate"] == NO_TOKEN

    def test_good_header_beside_it(self, client: TestClient) -> None:
        """Each other credential beats the cookie."""
        assert greeting(client, cookie("x", Origin=ORIGIN) | header(GOOD)) == "alice"

    def test_revoked_cookie(self, app: FastAPI, client: TestClient) -> None:
        """It counts as none: the page renews it, or shows the log-in."""
        app.state.verifier = make_verifier(revocations={ISSUER.issuer: make_log(Kind.SUBJECT)})

        answer = refusal(client, "/socket", cookie(GOOD, Origin=ORIGIN))

        assert answer.headers["WWW-Authenticate"] == NO_TOKEN

    def test_unreachable_keys(self, app: FastAPI, client: TestClient) -> None:
        """The cookie may well be good."""
        app.state.verifier = make_verifier(be_away)

        assert refusal(client, "/socket", cookie(GOOD, Origin=ORIGIN)).status_code == 503


class TestHTTP:
    """Plain requests."""

    def test_header(self, client: TestClient) -> None:
        """The common case."""
        assert client.get("/who", headers=header(GOOD)).json() == "alice"

    def test_none_where_none_is_needed(self, lenient: TestClient) -> None:
        """``auto_error=False``."""
        assert lenient.get("/who").json() is None

    def test_cookie_of_a_navigation(self, client: TestClient) -> None:
        """It carries no Origin, and changes nothing."""
        assert client.get("/who", headers=cookie(GOOD)).json() == "alice"

    def test_cookie_of_a_form(self, client: TestClient) -> None:
        """What changes something must name an allowed origin."""
        assert client.post("/who", headers=cookie(GOOD)).status_code == 401
        assert client.post("/who", headers=cookie(GOOD, Origin=ORIGIN)).json() == "alice"

    def test_further_scope(self, client: TestClient) -> None:
        """``Security(bearer, scopes=[…])`` asks for more than the issuer's own scope."""
        answer = client.get("/admin", headers=header(GOOD))

        assert answer.status_code == 403
        assert 'scope="connect api"' in answer.headers["WWW-Authenticate"]
        good = client.get("/admin", headers=header(mint(scope="api connect")))
        assert good.json() == "alice"

    def test_refusal_says_nothing_of_the_token(self, client: TestClient) -> None:
        """Neither its text nor what was wrong."""
        answer = client.get("/who", headers=header(GOOD + "x"))

        assert answer.json() == {"detail": "the token is not valid"}

    def test_openapi_shows_the_password_flow(self, client: TestClient) -> None:
        """With the address of the token and the scopes' meanings."""
        schema = client.get("/openapi.json").json()

        assert schema["components"]["securitySchemes"] == {
            "OAuth2WebSocketPasswordBearer": {
                "type": "oauth2",
                "flows": {"password": {"scopes": {}, "tokenUrl": "/token"}},
            }
        }
        assert schema["paths"]["/who"]["get"]["security"]

    def test_openapi_has_the_given_words(self) -> None:
        """Name, description and scopes."""
        app = make_app(scheme_name="door", description="words", scopes={"connect": "come in"})

        scheme = app.openapi()["components"]["securitySchemes"]["door"]

        assert scheme["description"] == "words"
        assert scheme["flows"]["password"]["scopes"] == {"connect": "come in"}


class TestVerifier:
    """Where the judge comes from."""

    def test_argument_beats_the_application(self) -> None:
        """A route may trust others than its application does."""
        app = make_app(verifier=make_verifier())
        app.state.verifier = Verifier([])

        assert TestClient(app).get("/who", headers=header(GOOD)).json() == "alice"

    def test_missing_verifier_is_said_clearly(self, app: FastAPI) -> None:
        """The text names what to set."""
        del app.state.verifier

        with pytest.raises(ConfigurationError, match=r"app\.state\.verifier"):
            TestClient(app).get("/who")


def connection(**headers: str) -> HTTPConnection:
    """Return a WebSocket handshake as the gateway's door gets it."""
    raw = [(name.lower().replace("_", "-").encode(), v.encode()) for name, v in headers.items()]
    return HTTPConnection(
        {
            "type": "websocket",
            "headers": raw,
            "query_string": b"cf_ws_frame_ping_pong=true",
            "app": FastAPI(),
        }
    )


class TestAdmission:
    """What the gateway's own door learns besides the credentials."""

    @pytest.fixture
    def bearer(self) -> OAuth2WebSocketPasswordBearer:
        """The dependency as the door uses it."""
        return OAuth2WebSocketPasswordBearer(
            tokenUrl="/token", auto_error=False, verifier=make_verifier()
        )

    @pytest.mark.parametrize(
        ("headers", "source"),
        [
            (header(GOOD), Source.HEADER),
            ({"Sec_WebSocket_Protocol": f"centrifuge-json, bearer.{GOOD}"}, Source.SUBPROTOCOL),
            (cookie(GOOD, Origin=ORIGIN), Source.COOKIE),
        ],
    )
    async def test_source(
        self, bearer: OAuth2WebSocketPasswordBearer, headers: dict[str, str], source: Source
    ) -> None:
        """After header and subprotocol ``connect`` may bring no token; after a cookie it may."""
        admission = await bearer.authenticate(connection(**headers))

        assert admission.source is source
        assert admission.credentials is not None
        assert not admission.bad_cookie
        assert admission.native_ping

    async def test_nothing(self, bearer: OAuth2WebSocketPasswordBearer) -> None:
        """The socket opens, and ``connect`` brings the token."""
        admission = await bearer.authenticate(connection(Sec_WebSocket_Protocol="centrifuge-json"))

        assert admission == Admission(
            None, Source.NONE, subprotocol="centrifuge-json", native_ping=True
        )

    @pytest.mark.parametrize("token", [EXPIRED, "x", "", "a b"])
    async def test_bad_cookie(self, bearer: OAuth2WebSocketPasswordBearer, token: str) -> None:
        """No guest, but somebody whose log-in has ended."""
        admission = await bearer.authenticate(connection(**cookie(token, Origin=ORIGIN)))

        assert (admission.credentials, admission.source) == (None, Source.NONE)
        assert admission.bad_cookie

    async def test_call_leaves_it_on_the_connection(
        self, bearer: OAuth2WebSocketPasswordBearer
    ) -> None:
        """In ``connection.state.admission``."""
        incoming = connection(**header(GOOD))

        credentials = await bearer(incoming)

        assert incoming.state.admission.credentials is credentials

    async def test_refusal_has_the_reason_as_its_cause(
        self, bearer: OAuth2WebSocketPasswordBearer
    ) -> None:
        """For a metric; the client is not told."""
        with pytest.raises(HandshakeRejected) as caught:
            await bearer.authenticate(connection(**header(EXPIRED)))

        assert isinstance(caught.value.__cause__, InvalidToken)
        assert caught.value.__cause__.reason == "expired"

    async def test_it_does_not_suspend(self, bearer: OAuth2WebSocketPasswordBearer) -> None:
        """Once the keys are known, the door may drive it outside a task."""
        await bearer.authenticate(connection(**header(GOOD)))

        with pytest.raises(StopIteration) as done:
            bearer.authenticate(connection(**header(mint(jti="another")))).send(None)

        assert isinstance(done.value.value, Admission)

    async def test_token_is_let_go(self, bearer: OAuth2WebSocketPasswordBearer) -> None:
        """What stays of an accepted connection holds no token."""
        await bearer.authenticate(connection(**header(GOOD)))
        token = mint(jti="to be forgotten")
        admission = await bearer.authenticate(connection(**header(token)))
        gc.collect()

        texts = [o for o in gc.get_referents(admission) if isinstance(o, str)]
        assert token not in texts
        assert token not in repr(admission)
