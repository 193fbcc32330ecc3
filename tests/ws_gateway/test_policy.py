"""Who may do what in which channel (protocol sections 7.1, 11 and 17)."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pytest

from ws_gateway.channels import ChannelOptions, Channels
from ws_gateway.credentials import Credentials
from ws_gateway.exceptions import ReplyError
from ws_gateway.policy import (
    check_history,
    check_presence,
    check_publish,
    check_subscribe,
    may_read_history,
    may_see_presence,
)

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


def subscribe_code(
    channels: Channels, credentials: Credentials, name: str, *, token: bool = False
) -> int:
    """Return the error code, 0 if it is allowed."""
    try:
        check_subscribe(channels, credentials, name, token=token)
    except ReplyError as error:
        return error.code
    return 0


def publish_code(
    channels: Channels, credentials: Credentials, name: str, *, subscribed: bool = False
) -> int:
    """Return the error code, 0 if it is allowed."""
    try:
        check_publish(channels, credentials, name, subscribed=subscribed)
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
        """Step 4."""
        assert subscribe_code(CHANNELS, alice, name) == 103

    @pytest.mark.parametrize("name", ["$both:1", "$lobby", "$room:1", "none:1", "few:#bob"])
    def test_token_is_enough(self, alice: Credentials, name: str) -> None:
        """Step 3: whatever the namespace allows."""
        assert subscribe_code(CHANNELS, alice, name, token=True) == 0

    @pytest.mark.parametrize(
        ("name", "code"), [("dm:#bob", 103), ("dm:#alice", 103), ("nowhere:1", 102), ("x", 107)]
    )
    def test_token_opens_no_personal_channel_and_makes_none_up(
        self, alice: Credentials, name: str, code: int
    ) -> None:
        """Personal channels are the server's; the name is judged before the token (step 2)."""
        assert subscribe_code(CHANNELS, alice, name, token=True) == code

    def test_resolved_channel_is_returned(self, alice: Credentials) -> None:
        """So that nobody takes the name apart twice."""
        channel = check_subscribe(CHANNELS, alice, "room:1")

        assert channel == CHANNELS.resolve("room:1")

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
    def test_options_decide(
        self, alice: Credentials, name: str, code: int, subscribed_code: int
    ) -> None:
        """``allow_publish_for_client`` for all, ``…_for_subscriber`` for those within."""
        assert publish_code(CHANNELS, alice, name) == code
        assert publish_code(CHANNELS, alice, name, subscribed=True) == subscribed_code

    @pytest.mark.parametrize("name", ["dm:#alice", "dm:#bob", "dm:#corp.bob"])
    def test_private_message_goes_to_exactly_one_user(self, alice: Credentials, name: str) -> None:
        """Any logged-in user may publish there."""
        channel = check_publish(CHANNELS, alice, name, subscribed=False)

        assert channel.personal

    @pytest.mark.parametrize(
        "name",
        [
            *("dm:#a,b", "dm:x#a", "dm:#", "dm:", "dm:a", "dm:#a,", "dm:#,a", "dm:#a#b", "dm:# a"),
            *("dm:#a b", "dm:##", "$dm:#a"),
        ],
    )
    def test_any_other_name_of_the_namespace_is_103(self, alice: Credentials, name: str) -> None:
        """Exactly ``dm:#`` and one id (design: private messages)."""
        assert publish_code(CHANNELS, alice, name) == 103
        assert publish_code(CHANNELS, alice, name, subscribed=True) == 103

    @pytest.mark.parametrize(
        ("name", "code"), [("#a", 0), ("#a,b", 103), ("#", 103), ("$#a", 103), ("news", 0)]
    )
    def test_private_message_without_a_namespace(
        self, alice: Credentials, name: str, code: int
    ) -> None:
        """``personal_channel_namespace = ""``: ``#`` and one id."""
        assert publish_code(BARE, alice, name) == code

    def test_private_messages_need_the_namespaces_leave(self, alice: Credentials) -> None:
        """A namespace of personal channels that only the server writes to."""
        channels = Channels(namespaces={"dm": ChannelOptions()}, personal_channel_namespace="dm")

        assert publish_code(channels, alice, "dm:#bob") == 103


GUESTS = Channels(
    namespaces={
        "users": ChannelOptions(
            allow_subscribe_for_client=True,
            allow_publish_for_client=True,
            allow_presence_for_client=True,
            allow_history_for_client=True,
            presence=True,
            history_size=1,
            history_ttl=1,
        ),
        "all": ChannelOptions(
            allow_subscribe_for_client=True,
            allow_subscribe_for_anonymous=True,
            allow_publish_for_client=True,
            allow_publish_for_anonymous=True,
            allow_presence_for_client=True,
            allow_presence_for_anonymous=True,
            allow_history_for_client=True,
            allow_history_for_anonymous=True,
            presence=True,
            history_size=1,
            history_ttl=1,
        ),
        "within": ChannelOptions(
            allow_publish_for_subscriber=True,
            allow_publish_for_anonymous=True,
            allow_presence_for_subscriber=True,
            allow_presence_for_anonymous=True,
            allow_history_for_subscriber=True,
            allow_history_for_anonymous=True,
            presence=True,
            history_size=1,
            history_ttl=1,
        ),
    },
    allow_anonymous_connect=True,
)


class TestGuests:
    """A guest is the user ``""`` (section 17, ``_for_anonymous``)."""

    @pytest.mark.parametrize(("name", "code"), [("users:1", 103), ("all:1", 0), ("all:#", 103)])
    def test_subscribe(self, make_credentials: MakeCredentials, name: str, code: int) -> None:
        """What any user may, a guest may where the namespace says so of guests too."""
        assert subscribe_code(GUESTS, make_credentials(""), name) == code

    @pytest.mark.parametrize(
        ("name", "code", "subscribed_code"),
        [("users:1", 103, 103), ("all:1", 0, 0), ("within:1", 103, 0)],
    )
    @pytest.mark.parametrize("check", [check_publish, check_presence, check_history])
    def test_other_commands(
        self,
        make_credentials: MakeCredentials,
        check: Callable[..., object],
        name: str,
        code: int,
        subscribed_code: int,
    ) -> None:
        """The same for all that can be allowed."""
        guest = make_credentials("")

        assert code_of(check, GUESTS, guest, name, subscribed=False) == code
        assert code_of(check, GUESTS, guest, name, subscribed=True) == subscribed_code


def code_of(
    check: Callable[..., object],
    channels: Channels,
    credentials: Credentials,
    name: str,
    *,
    subscribed: bool,
) -> int:
    """Return the error code, 0 if it is allowed."""
    try:
        check(channels, credentials, name, subscribed=subscribed)
    except ReplyError as error:
        return error.code
    return 0


READ = ChannelOptions(
    presence=True,
    allow_presence_for_client=True,
    history_size=1,
    history_ttl=1,
    allow_history_for_client=True,
)
WITHIN = ChannelOptions(
    presence=True,
    allow_presence_for_subscriber=True,
    history_size=1,
    history_ttl=1,
    allow_history_for_subscriber=True,
)
KEPT = ChannelOptions(presence=True, history_size=1, history_ttl=1)
READERS = Channels(
    namespaces={
        "read": READ,
        "within": WITHIN,
        "kept": KEPT,
        "off": ChannelOptions(
            allow_presence_for_client=True, allow_history_for_client=True, channel_regex="^[0-9]"
        ),
        "dm": READ,
    },
    personal_channel_namespace="dm",
)


class TestPresenceAndHistory:
    """Section 11: who may see who is there and what was said."""

    @pytest.mark.parametrize("check", [check_presence, check_history])
    @pytest.mark.parametrize(
        ("name", "code", "subscribed_code"),
        [
            ("read:1", 0, 0),
            ("within:1", 103, 0),
            ("kept:1", 103, 103),
            ("off:1", 108, 108),
            ("off:x", 107, 107),
            ("nowhere:1", 102, 102),
            ("read:\n", 107, 107),
            # Not for everybody, so not for everybody to read either.
            ("$read:1", 103, 0),
            ("read:#bob", 103, 0),
            ("read:#alice,bob", 0, 0),
            ("dm:#bob", 103, 0),
            ("dm:#alice", 0, 0),
            ("dm:x", 103, 0),
            ("dm:#", 103, 0),
        ],
    )
    def test_options_decide(
        self,
        alice: Credentials,
        check: Callable[..., object],
        name: str,
        code: int,
        subscribed_code: int,
    ) -> None:
        """108 where the feature is off, before 103 (section 17)."""
        assert code_of(check, READERS, alice, name, subscribed=False) == code
        assert code_of(check, READERS, alice, name, subscribed=True) == subscribed_code

    @pytest.mark.parametrize("may", [may_see_presence, may_read_history])
    @pytest.mark.parametrize(
        ("name", "outside", "within"),
        [("read:1", True, True), ("within:1", False, True), ("kept:1", False, False)],
    )
    def test_what_a_subscription_asks_for_follows_the_same_rules(
        self,
        alice: Credentials,
        may: Callable[..., bool],
        name: str,
        outside: bool,
        within: bool,
    ) -> None:
        """Join/leave pushes and recovery on request (section 7.2)."""
        channel = READERS.resolve(name)

        assert may(READERS, alice, channel, subscribed=False) is outside
        assert may(READERS, alice, channel, subscribed=True) is within


class TestInsecure:
    """``GATEWAY_INSECURE``: no permission is asked for (section 17)."""

    READERS = replace(READERS, insecure=True)

    @pytest.mark.parametrize(
        ("name", "code"),
        [("kept:1", 0), ("dm:#bob", 0), ("$kept:1", 103), ("nowhere:1", 102), ("off:x", 107)],
    )
    def test_subscribe(self, make_credentials: MakeCredentials, name: str, code: int) -> None:
        """Private channels need a token all the same (section 7.1: step 4 before 7)."""
        assert subscribe_code(self.READERS, make_credentials(""), name) == code

    @pytest.mark.parametrize(
        ("check", "name", "code"),
        [
            (check_publish, "kept:1", 0),
            (check_publish, "dm:#a,b", 103),
            (check_presence, "kept:1", 0),
            (check_presence, "$kept:1", 0),
            (check_presence, "off:1", 108),
            (check_history, "kept:1", 0),
            (check_history, "off:1", 108),
        ],
    )
    def test_other_commands(
        self,
        make_credentials: MakeCredentials,
        check: Callable[..., object],
        name: str,
        code: int,
    ) -> None:
        """A feature that is off stays off."""
        assert code_of(check, self.READERS, make_credentials(""), name, subscribed=False) == code
