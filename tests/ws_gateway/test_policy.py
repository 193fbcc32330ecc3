"""Who may do what in which channel (protocol sections 7.1, 11 and 17)."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from ws_gateway.channels import ChannelOptions, Channels
from ws_gateway.credentials import Credentials
from ws_gateway.exceptions import ReplyError
from ws_gateway.policy import check_publish, check_subscribe

EVERYTHING = ChannelOptions(
    allow_subscribe_for_client=True,
    allow_publish_for_client=True,
    allow_publish_for_subscriber=True,
    allow_user_limited_channels=True,
)
CHANNELS = Channels(
    without_namespace=ChannelOptions(channel_regex="^lobby$", allow_subscribe_for_client=True),
    namespaces={
        "room": ChannelOptions(allow_subscribe_for_client=True, allow_publish_for_subscriber=True),
        "open": ChannelOptions(allow_publish_for_client=True),
        "few": ChannelOptions(allow_user_limited_channels=True),
        "both": EVERYTHING,
        "none": ChannelOptions(),
        "dm": EVERYTHING,
    },
    personal_channel_namespace="dm",
)
BARE = Channels(without_namespace=EVERYTHING, personal_channel_namespace="")

MakeCredentials = Callable[..., Credentials]


def subscribe_code(channels: Channels, credentials: Credentials, name: str) -> int:
    """Return the error code, 0 if it is allowed."""
    try:
        check_subscribe(channels, credentials, name)
    except ReplyError as error:
        return error.code
    return 0


def publish_code(channels: Channels, name: str, *, subscribed: bool = False) -> int:
    """Return the error code, 0 if it is allowed."""
    try:
        check_publish(channels, name, subscribed=subscribed)
    except ReplyError as error:
        return error.code
    return 0


class TestSubscribe:
    """Section 7.1, steps 2 to 8."""

    @pytest.mark.parametrize(
        ("name", "code"),
        [
            ("lobby", 0),
            ("room:1", 0),
            ("other", 107),
            ("nowhere:1", 102),
            ("room:\n", 107),
            ("open:1", 103),
            ("none:1", 103),
            ("few:1", 103),
            ("few:#alice", 0),
            ("few:#bob,alice", 0),
            ("few:x#alice", 0),
            ("few:#bob", 103),
            ("few:#", 103),
            ("few:#alice,", 0),
            ("few:#alic", 103),
            ("few:#Alice", 103),
            ("few:# alice", 103),
            ("few:#alice#bob", 103),
            ("room:#alice", 103),
            ("room:#", 103),
            ("both:#alice", 0),
            ("both:#bob", 103),
            ("both:1", 0),
        ],
    )
    def test_options_decide(self, alice: Credentials, name: str, code: int) -> None:
        """A list of users limits also where everybody may subscribe."""
        assert subscribe_code(CHANNELS, alice, name) == code

    @pytest.mark.parametrize("name", ["$both:1", "$both:#alice", "$lobby", "$room:1"])
    def test_private_channel_without_a_token_is_103(self, alice: Credentials, name: str) -> None:
        """Step 4; there are no subscription tokens yet."""
        assert subscribe_code(CHANNELS, alice, name) == 103

    @pytest.mark.parametrize(
        "name", ["dm:#alice", "dm:#bob", "dm:#alice,bob", "dm:x#alice", "dm:#", "dm:", "dm:x"]
    )
    def test_personal_channels_are_the_servers(self, alice: Credentials, name: str) -> None:
        """Whatever their namespace allows, and not even one's own (design: private messages)."""
        assert subscribe_code(CHANNELS, alice, name) == 103

    @pytest.mark.parametrize("name", ["#alice", "#bob", "#alice,bob", "#", "$#alice"])
    def test_personal_channels_without_a_namespace_too(self, alice: Credentials, name: str) -> None:
        """``personal_channel_namespace = ""``."""
        assert subscribe_code(BARE, alice, name) == 103
        assert subscribe_code(BARE, alice, "news") == 0

    @pytest.mark.parametrize(
        ("user", "name"),
        [
            ("", "few:#"),
            ("", "few:#a,"),
            ("a b", "few:#a b"),
            (" ", "few:# "),
            ("a,b", "few:#a,b"),
            ("a#b", "few:#a#b"),
            ("client:a", "few:#client:a"),
            ("a@b", "few:#a@b"),
        ],
    )
    def test_foreign_subject_gets_no_user_limited_channel(
        self, make_credentials: MakeCredentials, user: str, name: str
    ) -> None:
        """A ``sub`` outside the charset cannot be named without doubt (design section 2)."""
        assert subscribe_code(CHANNELS, make_credentials(user), name) == 103

    @pytest.mark.parametrize("name", ["few:#a,b", "few:#a#b"])
    def test_user_id_with_a_separator_names_nobody_else(
        self, make_credentials: MakeCredentials, name: str
    ) -> None:
        """Issue: a user id with ``,`` or ``#``; the list is of the users a and b."""
        assert subscribe_code(CHANNELS, make_credentials("b"), name) == 0
        assert subscribe_code(CHANNELS, make_credentials("a,b"), name) == 103
        assert subscribe_code(CHANNELS, make_credentials("a#b"), name) == 103


class TestPublish:
    """Section 11."""

    @pytest.mark.parametrize(
        ("name", "code", "subscribed_code"),
        [
            ("open:1", 0, 0),
            ("room:1", 103, 0),
            ("none:1", 103, 103),
            ("lobby", 103, 103),
            ("other", 107, 107),
            ("nowhere:1", 102, 102),
            ("both:1", 0, 0),
            ("both:#bob", 0, 0),
        ],
    )
    def test_options_decide(self, name: str, code: int, subscribed_code: int) -> None:
        """``allow_publish_for_client`` for all, ``…_for_subscriber`` for those within."""
        assert publish_code(CHANNELS, name) == code
        assert publish_code(CHANNELS, name, subscribed=True) == subscribed_code

    @pytest.mark.parametrize("name", ["dm:#alice", "dm:#bob", "dm:#corp.bob"])
    def test_private_message_goes_to_exactly_one_user(self, name: str) -> None:
        """Any logged-in user may publish there."""
        channel = check_publish(CHANNELS, name, subscribed=False)

        assert channel.personal

    @pytest.mark.parametrize(
        "name",
        [
            *("dm:#a,b", "dm:x#a", "dm:#", "dm:", "dm:a", "dm:#a,", "dm:#,a", "dm:#a#b", "dm:# a"),
            *("dm:#a b", "dm:##", "$dm:#a"),
        ],
    )
    def test_any_other_name_of_the_namespace_is_103(self, name: str) -> None:
        """Exactly ``dm:#`` and one id (design: private messages)."""
        assert publish_code(CHANNELS, name) == 103
        assert publish_code(CHANNELS, name, subscribed=True) == 103

    @pytest.mark.parametrize(
        ("name", "code"), [("#a", 0), ("#a,b", 103), ("#", 103), ("$#a", 103), ("news", 0)]
    )
    def test_private_message_without_a_namespace(self, name: str, code: int) -> None:
        """``personal_channel_namespace = ""``: ``#`` and one id."""
        assert publish_code(BARE, name) == code

    def test_private_messages_need_the_namespaces_leave(self) -> None:
        """A namespace of personal channels that only the server writes to."""
        channels = Channels(namespaces={"dm": ChannelOptions()}, personal_channel_namespace="dm")

        assert publish_code(channels, "dm:#bob") == 103
