"""Who may come in and do what: guests, tokens of one's own backend, subscription tokens."""

from __future__ import annotations

from math import inf
from typing import Any

import pytest

from tests.ws_gateway.commands import (
    CONNECT,
    CONNECT_BY_TOKEN,
    MakeCredentials,
    MakeGateway,
    by_token,
    error,
    publish,
    subscribe,
)
from tests.ws_gateway.conftest import WALL_TIME, FakeLoop, Gateway, Peer
from tests.ws_gateway.hmac_backend import SECRET, sign
from ws_gateway.credentials import Credentials, SubscriptionGrant
from ws_gateway.subscription_tokens import SubscriptionTokens

OPEN = """
[client]
allow_anonymous_connect = true

[without_namespace]
allow_subscribe_for_client = true
allow_subscribe_for_anonymous = true
allow_publish_for_subscriber = true
allow_publish_for_anonymous = true

[namespaces.users]
allow_subscribe_for_client = true
"""


class TestGuests:
    """``allow_anonymous_connect``: whoever has no token is the user ``""``."""

    async def test_connect_without_a_token_is_a_guests(self, make_gateway: MakeGateway) -> None:
        """It has no end, no personal channel, and what the file gives to guests."""
        peer = make_gateway(channels=OPEN).open()

        (connected,) = await peer.ask(CONNECT)
        assert "error" not in connected
        assert not {"expires", "ttl", "subs"} & connected["connect"].keys()
        assert await peer.ask(subscribe("news")) == [{"id": 2, "subscribe": {}}]
        assert await peer.ask(subscribe("users:1")) == [error(103, "permission denied", 2)]
        pushed, _ = await peer.ask(publish("news", 1))

        assert pushed["push"]["pub"]["info"] == {"user": "", "client": peer.connection.client}

    async def test_where_they_are_not_allowed_it_is_109(self, gateway: Gateway) -> None:
        """An SDK fetches a token then."""
        peer = gateway.open()

        assert await peer.ask(CONNECT) == [error(109, "token expired", 1)]

    async def test_bad_cookie_is_never_a_guests(self, make_gateway: MakeGateway) -> None:
        """Somebody's log-in has ended: a page refreshes it on 109."""
        peer = make_gateway(channels=OPEN).open(guest_allowed=False)

        assert await peer.ask(CONNECT) == [error(109, "token expired", 1)]

    async def test_bad_token_is_no_guests_either(self, make_gateway: MakeGateway) -> None:
        """Nobody becomes a guest by mistake."""
        peer = make_gateway(channels=OPEN).open()

        assert await peer.ask({"id": 1, "connect": {"token": "bad"}}) == []
        assert peer.closed == 3500

    async def test_guest_stays_among_the_unauthenticated(self, make_gateway: MakeGateway) -> None:
        """Their number is limited as long as they are there."""
        released: list[bool] = []
        gateway = make_gateway(channels=OPEN)
        peer = gateway.open(authenticated=lambda: released.append(True))

        await peer.ask(CONNECT)
        assert released == []
        peer.connection.lost(1001)

        assert released == [True]

    @pytest.mark.parametrize(("channels", "code"), [(OPEN, None), ("", 3507)])
    async def test_token_without_a_user_is_a_guests(
        self,
        make_gateway: MakeGateway,
        make_credentials: MakeCredentials,
        channels: str,
        code: int | None,
    ) -> None:
        """Section 5: 3507 where guests are not allowed."""
        gateway = make_gateway(channels=channels)
        gateway.tokens.required = ""
        gateway.tokens.known["good"] = make_credentials("")
        peer = gateway.open()

        await peer.ask(CONNECT_BY_TOKEN)

        assert peer.closed == code


class TestInsecure:
    """``GATEWAY_INSECURE``."""

    async def test_no_token_is_needed_and_no_permission_asked_for(
        self, make_gateway: MakeGateway
    ) -> None:
        """As the JavaScript SDK's suite needs it."""
        peer = make_gateway(channels="", insecure=True).open()

        assert "connect" in (await peer.ask(CONNECT))[0]
        assert await peer.ask(subscribe("news")) == [{"id": 2, "subscribe": {}}]
        assert {"id": 3, "publish": {}} in await peer.ask(publish("news", 1))

    async def test_token_is_verified_but_never_expires(
        self, make_gateway: MakeGateway, alice: Credentials
    ) -> None:
        """Section 5, step 3."""
        gateway = make_gateway(insecure=True)
        peer = await by_token(gateway, alice)
        bad = gateway.open()

        await bad.ask({"id": 1, "connect": {"token": "bad"}})

        assert bad.closed == 3500
        assert not peer.connection.session.expires_with_grace


class TestTokenOfTheSecret:
    """What only Centrifugo's own profile can say of a connection."""

    @staticmethod
    def make(make_credentials: MakeCredentials, **claims: Any) -> Credentials:  # noqa: ANN401
        """Return what such a token says."""
        values: dict[str, Any] = {"issuer": "", "scopes": frozenset(), "expires_at": inf}
        return make_credentials(**values | claims)

    async def test_token_without_an_end(
        self, gateway: Gateway, make_credentials: MakeCredentials
    ) -> None:
        """No ``expires``; it may be refreshed by one that has an end."""
        gateway.tokens.required = ""
        gateway.tokens.known["good"] = self.make(make_credentials)
        gateway.tokens.known["new"] = self.make(make_credentials, expires_at=WALL_TIME + 9)
        peer = gateway.open()

        (connected,) = await peer.ask(CONNECT_BY_TOKEN)
        (kept,) = await peer.ask({"id": 2, "refresh": {"token": "good"}})
        (ends,) = await peer.ask({"id": 3, "refresh": {"token": "new"}})

        assert not {"expires", "ttl"} & connected["connect"].keys()
        assert not {"expires", "ttl"} & kept["refresh"].keys()
        assert (ends["refresh"]["expires"], ends["refresh"]["ttl"]) == (True, 9)

    async def test_far_end_is_told_as_a_year(
        self, gateway: Gateway, make_credentials: MakeCredentials
    ) -> None:
        """No SDK's timer holds more."""
        gateway.tokens.required = ""
        gateway.tokens.known["good"] = self.make(make_credentials, expires_at=WALL_TIME + 1e9)

        (reply,) = await gateway.open().ask(CONNECT_BY_TOKEN)

        assert reply["connect"]["ttl"] == 365 * 86_400

    async def test_connection_whose_end_has_passed_is_110(
        self, gateway: Gateway, make_credentials: MakeCredentials
    ) -> None:
        """Section 5, step 5: the token is good, and ``expire_at`` over."""
        gateway.tokens.required = ""
        gateway.tokens.known["good"] = self.make(make_credentials, expires_at=WALL_TIME - 1)
        gateway.tokens.known["ok"] = self.make(make_credentials)
        peer, other = gateway.open(), gateway.open()

        assert await peer.ask(CONNECT_BY_TOKEN) == [error(110, "expired", 1)]
        await other.ask({"id": 1, "connect": {"token": "ok"}})
        await other.ask({"id": 2, "refresh": {"token": "good"}})

        assert other.closed == 3005

    async def test_subscriptions_of_the_token_have_their_info_and_data(
        self, gateway: Gateway, make_credentials: MakeCredentials
    ) -> None:
        """Claims ``channels`` and ``subs``; private channels too, and they may be published to."""
        gateway.tokens.required = ""
        credentials = self.make(
            make_credentials,
            channels=("room:1", "$room:2"),
            subs=(("$room:2", SubscriptionGrant(info=b'"chan"', data=b"[1]")),),
        )
        gateway.tokens.known["good"] = credentials
        peer = gateway.open()

        (reply,) = await peer.ask(CONNECT_BY_TOKEN)
        pushed, _ = await peer.ask(publish("$room:2", 1))

        assert reply["connect"]["subs"] == {
            "room:1": {},
            "$room:2": {"data": [1]},
            "dm:#alice": {},
        }
        assert pushed["push"]["pub"]["info"]["chan_info"] == "chan"

    @pytest.mark.parametrize(
        ("before", "after", "code"),
        [
            (("room:1",), ("room:1",), None),
            (("room:1", "room:2"), ("room:2", "room:1"), None),
            ((), ("room:1",), 3010),
            (("room:1",), (), 3010),
        ],
    )
    async def test_refresh_that_changes_the_channels_is_3010(
        self,
        gateway: Gateway,
        make_credentials: MakeCredentials,
        before: tuple[str, ...],
        after: tuple[str, ...],
        code: int | None,
    ) -> None:
        """Section 11: a new connection has the new ones."""
        peer = await by_token(gateway, make_credentials(channels=before))
        gateway.tokens.known["new"] = make_credentials(channels=after)

        await peer.ask({"id": 2, "refresh": {"token": "new"}})

        assert peer.closed == code

    async def test_servers_subscription_that_ends_is_3006(
        self, make_gateway: MakeGateway, make_credentials: MakeCredentials
    ) -> None:
        """25 s after its end."""
        grant = SubscriptionGrant(expires_at=WALL_TIME + 10)
        credentials = make_credentials(channels=("room:1",), subs=(("room:1", grant),))
        gateway = make_gateway(ping_interval=1000)
        peer = gateway.open(credentials)

        (reply,) = await peer.ask(CONNECT)
        await gateway.advance(34.5)
        assert peer.closed is None
        await gateway.advance(1)

        assert reply["connect"]["subs"]["room:1"] == {"expires": True, "ttl": 10}
        assert peer.transport.closed == (3006, "subscription expired")


PRIVATE = "$room:1"


class TestSubscriptionTokens:
    """Sections 7.1 and 11."""

    @staticmethod
    def token(**claims: object) -> str:
        """Sign a token for alice and a private channel, with these claims changed."""
        return sign({"sub": "alice", "channel": PRIVATE} | claims)

    @pytest.fixture
    async def gateway(self, make_gateway: MakeGateway, fake_loop: FakeLoop) -> Gateway:
        """A gateway that knows the secret, and does not ping meanwhile."""
        tokens = SubscriptionTokens(SECRET, now=lambda: WALL_TIME + fake_loop.now - 1000)
        return make_gateway(node_options={"subscription_tokens": tokens}, ping_interval=1000)

    @staticmethod
    async def subscribe(
        gateway: Gateway, credentials: Credentials, token: str, channel: str = PRIVATE
    ) -> tuple[Peer, list[Any]]:
        """Connect and subscribe."""
        peer = await gateway.connect(credentials)
        command = {"id": 2, "subscribe": {"channel": channel, "token": token}}
        return peer, await peer.ask(command)

    async def test_token_opens_a_private_channel(
        self, gateway: Gateway, alice: Credentials
    ) -> None:
        """Data is for the client, info for the others, and without an end there is no ttl."""
        peer, replies = await self.subscribe(
            gateway, alice, self.token(info={"a": 1}, data={"b": 2})
        )
        pushed, _ = await peer.ask(publish(PRIVATE, 1))

        assert replies == [{"id": 2, "subscribe": {"data": {"b": 2}}}]
        assert pushed["push"]["pub"]["info"]["chan_info"] == {"a": 1}

    @pytest.mark.parametrize(
        ("claims", "code", "message"),
        [
            ({"exp": WALL_TIME}, 109, "token expired"),
            ({"nbf": WALL_TIME + 6}, 109, "token not valid yet"),
            ({"exp": "soon"}, 103, "permission denied"),
            ({"exp": WALL_TIME, "override": 1}, 103, "permission denied"),
            ({"expire_at": WALL_TIME - 1}, 110, "expired"),
        ],
    )
    async def test_token_that_is_not_good_is_an_error(
        self,
        gateway: Gateway,
        alice: Credentials,
        claims: dict[str, object],
        code: int,
        message: str,
    ) -> None:
        """The connection goes on."""
        peer, replies = await self.subscribe(gateway, alice, self.token(**claims))

        assert replies == [error(code, message, 2)]
        assert peer.closed is None
        assert gateway.broker.requests == [("subscribe", "dm:#alice")]

    @pytest.mark.parametrize("token", ["invalid", "a.b.c"])
    async def test_text_that_is_no_token_is_103(
        self, gateway: Gateway, alice: Credentials, token: str
    ) -> None:
        """And not the end of the connection."""
        _, replies = await self.subscribe(gateway, alice, token)

        assert replies == [error(103, "permission denied", 2)]

    @pytest.mark.parametrize(
        "claims", [{"sub": "bob"}, {"sub": ""}, {"channel": "$room:2"}, {"client": "another"}]
    )
    async def test_token_of_another_is_3500(
        self, gateway: Gateway, alice: Credentials, claims: dict[str, object]
    ) -> None:
        """User, channel or connection: section 7.1, step 3."""
        peer, replies = await self.subscribe(gateway, alice, self.token(**claims))

        assert replies == []
        assert peer.closed == 3500

    async def test_name_is_judged_before_the_token(
        self, gateway: Gateway, alice: Credentials
    ) -> None:
        """Section 7.1, steps 2 and 3."""
        token = self.token(channel="nowhere:1")

        _, replies = await self.subscribe(gateway, alice, token, "nowhere:1")

        assert replies == [error(102, "unknown channel", 2)]

    async def test_without_a_secret_it_is_103(
        self, make_gateway: MakeGateway, alice: Credentials
    ) -> None:
        """None can be good."""
        _, replies = await self.subscribe(make_gateway(), alice, self.token())

        assert replies == [error(103, "permission denied", 2)]

    async def test_subscription_ends_with_its_token(
        self, gateway: Gateway, alice: Credentials
    ) -> None:
        """2501 after the grace; an SDK subscribes anew with another token."""
        peer, replies = await self.subscribe(gateway, alice, self.token(exp=WALL_TIME + 4))
        assert replies == [{"id": 2, "subscribe": {"expires": True, "ttl": 4}}]

        await gateway.advance(28.5)
        assert await peer.receive() == []
        await gateway.advance(1)

        end = {"code": 2501, "reason": "subscription expired"}
        assert await peer.receive() == [{"push": {"channel": PRIVATE, "unsubscribe": end}}]
        assert PRIVATE not in gateway.node.hub
        assert gateway.broker.requests[-1] == ("unsubscribe", PRIVATE)
        again = self.token(exp=WALL_TIME + 100)
        (reply,) = await peer.ask({"id": 3, "subscribe": {"channel": PRIVATE, "token": again}})
        assert reply["subscribe"]["expires"]

    @pytest.mark.parametrize("channel", [PRIVATE, ""])
    async def test_refresh_moves_the_end(
        self, gateway: Gateway, alice: Credentials, channel: str
    ) -> None:
        """Info stays; old Python SDKs leave the channel out, and the token names it."""
        peer, _ = await self.subscribe(gateway, alice, self.token(exp=WALL_TIME + 4, info={"a": 1}))
        request = {"channel": channel, "token": self.token(exp=WALL_TIME + 60)}

        (reply,) = await peer.ask({"id": 3, "sub_refresh": request})
        await gateway.advance(84)

        assert reply == {"id": 3, "sub_refresh": {"expires": True, "ttl": 60}}
        assert peer.connection.session.channels.keys() == {"dm:#alice", PRIVATE}
        grant = peer.connection.session.grant(PRIVATE)
        assert grant is not None
        assert grant.info == b'{"a":1}'

    async def test_refresh_may_take_the_end_away(
        self, gateway: Gateway, alice: Credentials
    ) -> None:
        """A token without one."""
        peer, _ = await self.subscribe(gateway, alice, self.token(exp=WALL_TIME + 4))

        (reply,) = await peer.ask(
            {"id": 3, "sub_refresh": {"channel": PRIVATE, "token": self.token()}}
        )

        assert reply == {"id": 3, "sub_refresh": {}}

    @pytest.mark.parametrize(
        ("claims", "code"),
        [
            ({"exp": WALL_TIME}, 3006),
            ({"expire_at": WALL_TIME - 1}, 3006),
            ({"sub": "bob"}, 3500),
            ({"channel": "$room:2"}, 3500),
            ({"exp": "soon"}, 3500),
        ],
    )
    async def test_refresh_with_a_bad_token_ends_the_connection(
        self, gateway: Gateway, alice: Credentials, claims: dict[str, object], code: int
    ) -> None:
        """Section 11; an expired one is not accepted."""
        peer, _ = await self.subscribe(gateway, alice, self.token(exp=WALL_TIME + 4))
        request = {"channel": PRIVATE, "token": self.token(**claims)}

        assert await peer.ask({"id": 3, "sub_refresh": request}) == []
        assert peer.closed == code

    async def test_refresh_with_a_token_of_the_future_is_temporary(
        self, gateway: Gateway, alice: Credentials
    ) -> None:
        """The backend's clock is ahead: SDKs ask for another one while the old one lasts."""
        peer, _ = await self.subscribe(gateway, alice, self.token(exp=WALL_TIME + 4))
        request = {"channel": PRIVATE, "token": self.token(nbf=WALL_TIME + 6)}

        (reply,) = await peer.ask({"id": 3, "sub_refresh": request})

        assert reply == error(100, "token not valid yet", 3, temporary=True)
        assert peer.closed is None

    async def test_refresh_of_what_is_not_subscribed_is_103(
        self, gateway: Gateway, alice: Credentials
    ) -> None:
        """Also where only the token names it."""
        peer = await gateway.connect(alice)

        for channel in (PRIVATE, ""):
            request = {"channel": channel, "token": self.token()}
            assert await peer.ask({"id": 3, "sub_refresh": request}) == [
                error(103, "permission denied", 3)
            ]

    async def test_nothing_is_kept_of_what_was_left(
        self, gateway: Gateway, alice: Credentials
    ) -> None:
        """A new subscription without a token begins with nothing."""
        peer, _ = await self.subscribe(gateway, alice, self.token(exp=WALL_TIME + 4))

        await peer.ask({"id": 3, "unsubscribe": {"channel": PRIVATE}})

        assert peer.connection.session.grant(PRIVATE) is None
        await gateway.advance(15)
        assert peer.closed is None
