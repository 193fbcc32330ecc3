"""Channel names and namespaces (protocol section 17), and the file that describes them."""

from __future__ import annotations

import string
from typing import Any

import pytest
from hypothesis import given, strategies as st

from ws_gateway.channels import ChannelOptions, Channels
from ws_gateway.exceptions import ConfigurationError, ReplyError

ROOM = ChannelOptions(allow_subscribe_for_client=True)
DM = ChannelOptions(allow_publish_for_client=True)
CHANNELS = Channels(namespaces={"room": ROOM, "dm": DM}, personal_channel_namespace="dm")
BARE = Channels(personal_channel_namespace="")


def refusal(channels: Channels, name: str) -> int:
    """Return the error code of a name that is refused."""
    with pytest.raises(ReplyError) as caught:
        channels.resolve(name)
    return caught.value.code


class TestGrammar:
    """What a channel name is made of."""

    @pytest.mark.parametrize(
        ("name", "options"),
        [
            ("news", CHANNELS.without_namespace),
            ("room:1", ROOM),
            ("room:", ROOM),
            ("room:a:b", ROOM),
            ("room:with blank", ROOM),
            ("dm:x", DM),
        ],
    )
    def test_namespace_is_what_stands_before_the_first_colon(
        self, name: str, options: ChannelOptions
    ) -> None:
        """No colon, no namespace; a later colon belongs to the name."""
        channel = CHANNELS.resolve(name)

        assert (channel.name, channel.options) == (name, options)

    @pytest.mark.parametrize("name", ["lobby:1", ":1", ":", "Room:1", " room:1", "news#1:2"])
    def test_unknown_namespace_is_102(self, name: str) -> None:
        """Section 7.1, step 2; names are case sensitive, and nothing is trimmed."""
        assert refusal(CHANNELS, name) == 102

    @pytest.mark.parametrize(
        "name", ["", "é", "room:\n", "room:\x00", "a\tb", "\x7f", "room:\u202e", "room:\uff11"]
    )
    def test_name_that_is_not_printable_ascii_is_107(self, name: str) -> None:
        """It would reach logs, and other clients."""
        assert refusal(CHANNELS, name) == 107

    def test_name_is_at_most_255_long(self) -> None:
        """Section 7.1, step 1."""
        CHANNELS.resolve("room:" + "x" * 250)

        assert refusal(CHANNELS, "room:" + "x" * 251) == 107

    @pytest.mark.parametrize(
        ("name", "users"),
        [
            ("news", ()),
            ("room:#1", ("1",)),
            ("dialog#1,2", ("1", "2")),
            ("room:a#b#3", ("3",)),
            ("room:#", ("",)),
            ("room:#1,", ("1", "")),
            ("room:# 1", (" 1",)),
        ],
    )
    def test_users_stand_after_the_last_hash(self, name: str, users: tuple[str, ...]) -> None:
        """Separated by commas; an empty list is a list of nobody, not of everybody."""
        assert CHANNELS.resolve(name).users == users

    @pytest.mark.parametrize(
        ("name", "private"),
        [("$news", True), ("$room:1", True), ("news", False), ("room:$1", False), ("$", True)],
    )
    def test_dollar_in_front_makes_a_channel_private(self, name: str, private: bool) -> None:
        """Section 17: the prefix is no part of the namespace's name."""
        channel = CHANNELS.resolve(name)

        assert channel.private is private
        assert channel.options == (ROOM if "room" in name else CHANNELS.without_namespace)

    @pytest.mark.parametrize(
        ("regex", "name", "good"),
        [
            ("^lobby$", "lobby", True),
            ("^lobby$", "lobby2", False),
            ("^lobby$", "alobby", False),
            ("[0-9]", "a7b", True),
        ],
    )
    def test_channel_regex_must_be_found_in_the_name(
        self, regex: str, name: str, good: bool
    ) -> None:
        """Else 107 (section 7.1, step 2), with a namespace and without."""
        options = ChannelOptions(channel_regex=regex)
        channels = Channels(without_namespace=options, namespaces={"room": options})

        for whole in (name, "room:" + name):
            if good:
                channels.resolve(whole)
            else:
                assert refusal(channels, whole) == 107

    @given(st.text(max_size=300))
    def test_any_text_is_a_channel_or_a_refusal(self, name: str) -> None:
        """Names come from clients; nothing but 102 and 107 may come of them."""
        try:
            channel = CHANNELS.resolve(name)
        except ReplyError as error:
            assert error.code in {102, 107}  # noqa: PT017 - both ways out are good
        else:
            assert channel.name == name


class TestPersonalChannels:
    """One channel for each user, subscribed by the server (design: private messages)."""

    @pytest.mark.parametrize(
        ("channels", "channel"), [(CHANNELS, "dm:#alice"), (BARE, "#alice"), (Channels(), None)]
    )
    def test_name_is_the_namespace_and_the_user(
        self, channels: Channels, channel: str | None
    ) -> None:
        """Without the setting there are none; an empty one means no namespace."""
        assert channels.personal_channel("alice") == channel

    @pytest.mark.parametrize("user", ["a", "a-b_C9", "x" * 64, "corp.alice", "0.0"])
    def test_our_own_subjects_have_one(self, user: str) -> None:
        """The charset of ``sub``, and the prefix that several issuers' users carry."""
        assert CHANNELS.personal_channel(user) == "dm:#" + user

    @pytest.mark.parametrize(
        "user",
        [
            *("", "a,b", "a#b", "#a", "a b", " ", "a:b", "client:svc", "a.b.c", "é", "a\n"),
            *("CORP.alice", ".a", "a.", "a@b.c", "x" * 65, "x" * 17 + ".a"),
        ],
    )
    def test_foreign_subjects_have_none(self, user: str) -> None:
        """They could name several users at once, or another's channel."""
        assert CHANNELS.personal_channel(user) is None
        assert BARE.personal_channel(user) is None

    @pytest.mark.parametrize("channels", [CHANNELS, BARE])
    @given(first=st.text(max_size=70), second=st.text(max_size=70))
    def test_two_users_never_share_one(self, channels: Channels, first: str, second: str) -> None:
        """Nobody can choose an id whose personal channel is another's."""
        names = {channels.personal_channel(user) for user in (first, second)} - {None}

        assert len(names) == len(
            {user for user in (first, second) if channels.personal_channel(user) is not None}
        )

    @pytest.mark.parametrize("channels", [CHANNELS, BARE])
    @given(
        user=st.from_regex(r"\A([a-z0-9]{1,16}\.)?[A-Za-z0-9_-]{1,64}\Z"),
        other=st.text(alphabet=string.printable, max_size=40),
    )
    def test_own_channel_is_someones_and_lets_nobody_else_in(
        self, channels: Channels, user: str, other: str
    ) -> None:
        """The name resolves to exactly one user: its owner."""
        name = channels.personal_channel(user)
        assert name is not None

        channel = channels.resolve(name)

        assert channel.users == (user,)
        assert channel.personal
        assert channels.is_personal_channel_of_someone(channel)
        assert other == user or other not in channel.users

    @pytest.mark.parametrize(
        "name",
        [
            *("dm:#a,b", "dm:x#a", "dm:#", "dm:", "dm:a", "dm:#a#b", "dm:##a", "dm: #a", "dm:# a"),
            *("dm:#client:x", "$dm:#a", "dm:#" + "x" * 65),
        ],
    )
    def test_other_names_of_the_namespace_are_nobodys(self, name: str) -> None:
        """Exactly ``dm:#`` and one id."""
        channel = CHANNELS.resolve(name)

        assert channel.personal
        assert not CHANNELS.is_personal_channel_of_someone(channel)

    @pytest.mark.parametrize("name", ["room:#a", "news#a", "#a", "dm"])
    def test_other_namespaces_are_not_personal(self, name: str) -> None:
        """A user's id in it does not make a channel personal."""
        channel = CHANNELS.resolve(name)

        assert not channel.personal
        assert not CHANNELS.is_personal_channel_of_someone(channel)

    def test_without_a_namespace_only_limited_names_are_personal(self) -> None:
        """``""`` puts personal channels among those without a namespace; the others stay."""
        assert not BARE.resolve("news").personal
        assert not BARE.resolve("dialog#42,43").personal
        assert BARE.resolve("#a").personal
        assert BARE.resolve("$#a").personal

    @pytest.mark.parametrize("name", ["#a,b", "#", "#a#b", "$#a"])
    def test_without_a_namespace_other_limited_names_are_nobodys(self, name: str) -> None:
        """Exactly ``#`` and one id."""
        assert not BARE.is_personal_channel_of_someone(BARE.resolve(name))


class TestFile:
    """The channels file: every mistake is one readable line that names the place."""

    def test_empty_file_allows_nothing(self) -> None:
        """Secure by default (design section 2)."""
        assert Channels.from_toml("") == Channels()

    def test_every_section_is_read(self) -> None:
        """Their options are the subject of another test."""
        channels = Channels.from_toml(
            "[client]\npersonal_channel_namespace = 'dm'\nallow_anonymous_connect = true\n"
            "[without_namespace]\npresence = true\n"
            "[namespaces.dm]\n[namespaces.a-B_9]\npresence = true\n"
        )

        assert channels == Channels(
            without_namespace=ChannelOptions(presence=True),
            namespaces={"dm": ChannelOptions(), "a-B_9": ChannelOptions(presence=True)},
            personal_channel_namespace="dm",
            allow_anonymous_connect=True,
        )

    def test_empty_personal_namespace_needs_no_namespace(self) -> None:
        """It is the name of none."""
        text = "[client]\npersonal_channel_namespace = ''"

        assert Channels.from_toml(text).personal_channel_namespace == ""

    @pytest.mark.parametrize(
        ("text", "line"),
        [
            ("[", "not TOML: "),
            ("a = 1\na = 2", "not TOML: "),
            ("a = '\x00'", "not TOML: "),
            ("[chat]", "unknown section 'chat'"),
            ("client = 1", "client: must be a table"),
            ("[client]\nallow = true", "client.allow: unknown option"),
            (
                "[client]\npersonal_channel_namespace = 1",
                "client.personal_channel_namespace: must be a string",
            ),
            (
                "[client]\npersonal_channel_namespace = 'dm'",
                "client.personal_channel_namespace: there is no namespace 'dm'",
            ),
            ("without_namespace = []", "without_namespace: must be a table"),
            ("namespaces = 3", "namespaces: must be a table"),
            ("[namespaces]\nroom = 3", "namespaces.room: must be a table"),
            ("[[namespaces.room]]", "namespaces.room: must be a table"),
            ("[namespaces.x]", "namespaces.'x': a name is two or more of "),
            ('[namespaces."a:b"]', "namespaces.'a:b': a name is two or more of "),
            ('[namespaces.""]', "namespaces.'': a name is two or more of "),
            ('[namespaces."a\\nb"]', r"namespaces.'a\nb': a name is two or more of "),
            ("[namespaces.room]\npresent = true", "namespaces.room.present: unknown option"),
            ("[without_namespace]\npresence = 1", "without_namespace.presence: must be true or"),
            (
                "[client]\nallow_anonymous_connect = 1",
                "client.allow_anonymous_connect: must be true or false",
            ),
            ("[client]\ninsecure = true", "client.insecure: unknown option"),
            ('[client]\n"a\\nb" = 1', "client.'a\\nb': unknown option"),
        ],
    )
    def test_mistake_is_one_readable_line(self, text: str, line: str) -> None:
        """Settings that are wrong stop the start with one line (design section 2)."""
        with pytest.raises(ConfigurationError) as caught:
            Channels.from_toml(text)

        assert str(caught.value).startswith(line)
        assert "\n" not in str(caught.value)
        assert str(caught.value).isprintable()

    @given(
        st.dictionaries(
            st.sampled_from(["client", "without_namespace", "namespaces", "x"]),
            st.recursive(
                st.one_of(st.booleans(), st.integers(), st.text(string.ascii_letters)),
                lambda inner: st.dictionaries(
                    st.sampled_from(
                        ["room", "dm", "channel_regex", "history_ttl", "personal_channel_namespace"]
                    ),
                    inner,
                ),
                max_leaves=8,
            ),
        )
    )
    def test_any_document_is_read_or_refused(self, document: dict[str, Any]) -> None:
        """A mistake is never a traceback."""
        lines = [f"{name} = {toml(value)}" for name, value in document.items()]

        try:
            channels = Channels.from_toml("\n".join(lines))
        except ConfigurationError as error:
            assert "\n" not in str(error)  # noqa: PT017 - both ways out are good
        else:
            assert isinstance(channels, Channels)


def toml(value: object) -> str:
    """Write a value as inline TOML."""
    match value:
        case bool():
            return str(value).lower()
        case dict():
            return "{" + ", ".join(f"{name} = {toml(inner)}" for name, inner in value.items()) + "}"
        case str():
            return f"'{value}'"
        case _:
            return str(value)


class TestResolved:
    """Names that were taken apart are kept for a while, and refused ones never."""

    def test_it_is_the_same_as_before(self) -> None:
        """The very object."""
        channels = Channels(namespaces={"room": ROOM})

        assert channels.resolve("room:1") is channels.resolve("room:1")

    def test_there_is_a_bound(self) -> None:
        """Clients think of names without end."""
        channels = Channels(namespaces={"room": ROOM})
        for number in range(10_001):
            channels.resolve(f"room:{number}")

        assert len(channels._resolved) == 1
        assert channels.resolve("room:0").options is ROOM

    def test_what_is_refused_is_refused_again(self) -> None:
        """It takes no room."""
        channels = Channels(namespaces={"room": ROOM})
        for _ in range(2):
            with pytest.raises(ReplyError):
                channels.resolve("nowhere:1")

        assert not channels._resolved
