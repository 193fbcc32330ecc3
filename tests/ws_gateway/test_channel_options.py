"""The options of a namespace (protocol section 17), as a channels file writes them."""

from __future__ import annotations

import tomllib
from dataclasses import fields

import pytest
from hypothesis import given, strategies as st

from ws_gateway.channel_options import ChannelOptions, read_options
from ws_gateway.exceptions import ConfigurationError

EVERY_OPTION = """
presence = true
join_leave = true
force_push_join_leave = true
history_size = 100
history_ttl = "300s"
history_meta_ttl = "24h"
force_positioning = true
allow_positioning = true
force_recovery = true
allow_recovery = true
force_recovery_mode = "cache"
auto_cache_recover = true
allowed_delta_types = ["fossil"]
delta_publish = true
allow_tags_filter = true
allow_subscribe_for_client = true
allow_subscribe_for_anonymous = true
allow_publish_for_client = true
allow_publish_for_subscriber = true
allow_publish_for_anonymous = true
allow_presence_for_client = true
allow_presence_for_subscriber = true
allow_presence_for_anonymous = true
allow_history_for_client = true
allow_history_for_subscriber = true
allow_history_for_anonymous = true
allow_user_limited_channels = true
channel_regex = "^[a-z]+$"
publication_data_format = "json_object"
slow_reader = "drop"
"""
NOT_BOOLEAN = {
    "history_size": 100,
    "history_ttl": 300,
    "history_meta_ttl": 86_400,
    "force_recovery_mode": "cache",
    "allowed_delta_types": ("fossil",),
    "channel_regex": "^[a-z]+$",
    "publication_data_format": "json_object",
    "slow_reader": "drop",
}
HISTORY = 'history_size = 1\nhistory_ttl = "1s"\n'


def read(text: str) -> ChannelOptions:
    """Read the options of the namespace ``room``."""
    return read_options(tomllib.loads(text), "namespaces.room")


def test_nothing_is_allowed_by_default() -> None:
    """Secure by default (design section 2)."""
    options = read("")

    assert options == ChannelOptions()
    assert {field.name for field in fields(options) if getattr(options, field.name)} == {
        "force_recovery_mode",
        "slow_reader",
    }
    assert not options.history


def test_every_option_is_read() -> None:
    """Under Centrifugo's names."""
    options = read(EVERY_OPTION)

    assert {field.name: getattr(options, field.name) for field in fields(options)} == {
        field.name: NOT_BOOLEAN.get(field.name, True) for field in fields(options)
    }
    assert options.history


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        *(("300s", 300), ("500ms", 0.5), ("5m", 300), ("720h", 2_592_000), ("1.5s", 1.5)),
        ("0001s", 1),
    ],
)
def test_duration_has_a_unit(text: str, seconds: float) -> None:
    """Milliseconds, seconds, minutes or hours."""
    assert read(f'history_size = 1\nhistory_ttl = "{text}"').history_ttl == seconds


@pytest.mark.parametrize(
    "value",
    [
        *('"300"', "300", '"s"', '"-1s"', '"1 s"', '"1d"', '"1S"', '"1s "', '""', '"1h30m"'),
        *('"1e3s"', '".5s"', '"٣s"', "true", '["1s"]', '"infs"', '"9999999999s"'),
    ],
)
def test_anything_else_is_no_duration(value: str) -> None:
    """A number without a unit is seconds to one reader and milliseconds to another."""
    with pytest.raises(ConfigurationError) as caught:
        read(f"history_size = 1\nhistory_ttl = {value}")

    assert str(caught.value) == (
        'namespaces.room.history_ttl: must be a time with its unit, ms, s, m or h, such as "300s"'
    )


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("presance = true", "presance: unknown option"),
        ('"a\\nb" = 1', "'a\\nb': unknown option"),
        ("presence = 1", "presence: must be true or false"),
        ("presence = 'true'", "presence: must be true or false"),
        ("history_size = true", "history_size: must be a whole number"),
        ("history_size = 1.5", "history_size: must be a whole number"),
        ("channel_regex = 7", "channel_regex: must be a string"),
        ("allowed_delta_types = 'fossil'", "allowed_delta_types: must be a list of strings"),
        ("allowed_delta_types = [1]", "allowed_delta_types: must be a list of strings"),
        ("history_size = -1", "history_size: must be from 0 to 1000000"),
        ("history_size = 1000001", "history_size: must be from 0 to 1000000"),
        ("slow_reader = 'wait'", "slow_reader: must be one of disconnect, drop"),
        (
            HISTORY + "force_positioning = true\nslow_reader = 'drop'",
            'slow_reader: "drop" needs force_recovery or allow_recovery',
        ),
        ("history_size = 1", "history_size: needs history_ttl"),
        ("history_ttl = '1s'", "history_ttl: needs history_size"),
        ("history_size = 1\nhistory_ttl = '0s'", "history_size: needs history_ttl"),
        ("history_size = 1\nhistory_ttl = '87601h'", "history_ttl: must be ten years at most"),
        (
            HISTORY + "history_meta_ttl = '999ms'",
            "history_meta_ttl: must not be shorter than history_ttl",
        ),
        ("force_recovery = true", "force_recovery: needs history_size and history_ttl"),
        ("allow_recovery = true", "allow_recovery: needs history_size and history_ttl"),
        ("force_positioning = true", "force_positioning: needs history_size and history_ttl"),
        ("allow_positioning = true", "allow_positioning: needs history_size and history_ttl"),
        ("auto_cache_recover = true", "auto_cache_recover: needs history_size and history_ttl"),
        (
            HISTORY + "auto_cache_recover = true",
            'auto_cache_recover: needs force_recovery_mode = "cache"',
        ),
        ("force_recovery_mode = 'map'", "force_recovery_mode: must be one of stream, cache"),
        ("allowed_delta_types = ['fossil', 'x']", "allowed_delta_types: must be of fossil"),
        ("force_push_join_leave = true", "force_push_join_leave: needs join_leave"),
        (
            "publication_data_format = 'xml'",
            "publication_data_format: must be one of json, json_object, binary",
        ),
        (
            "allow_subscribe_for_anonymous = true",
            "allow_subscribe_for_anonymous: needs allow_subscribe_for_client",
        ),
        *(
            (
                f"allow_{what}_for_anonymous = true",
                f"allow_{what}_for_anonymous: needs allow_{what}_for_client or",
            )
            for what in ("publish", "presence", "history")
        ),
        ("channel_regex = '('", "channel_regex: "),
        ("channel_regex = '''(\n'''", "channel_regex: "),
    ],
)
def test_mistake_is_one_readable_line_that_names_the_option(text: str, line: str) -> None:
    """Also what is right alone and means nothing beside the others."""
    with pytest.raises(ConfigurationError) as caught:
        read(text)

    assert str(caught.value).startswith(f"namespaces.room.{line}")
    assert str(caught.value).isprintable()


def test_token_may_override_some_for_one_subscription() -> None:
    """In both directions; the namespace's own stay as they are."""
    options = ChannelOptions(presence=True, history_size=1, history_ttl=1)

    changed = options.overridden([("presence", False), ("force_recovery", True)])

    assert (changed.presence, changed.force_recovery, changed.history_size) == (False, True, 1)
    assert options.presence
    assert options.overridden([]) is options


def test_nothing_that_needs_a_history_is_forced_without_one() -> None:
    """A token cannot make a stream."""
    options = ChannelOptions()

    changed = options.overridden(
        [("force_recovery", True), ("force_positioning", True), ("join_leave", True)]
    )

    assert changed == ChannelOptions(join_leave=True)


@pytest.mark.parametrize("value", [3, [], True, "x"])
def test_namespace_is_a_table(value: object) -> None:
    """A mistake in the file's form."""
    with pytest.raises(ConfigurationError, match=r"^namespaces\.room: must be a table$"):
        read_options(value, "namespaces.room")


@given(
    st.dictionaries(
        st.sampled_from([field.name for field in fields(ChannelOptions)]),
        st.one_of(
            st.booleans(),
            st.integers(),
            st.floats(),
            st.text(),
            st.sampled_from(["1s", "cache", "fossil", "json"]),
            st.lists(st.one_of(st.text(), st.integers(), st.just("fossil")), max_size=2),
        ),
    )
)
def test_any_table_is_read_or_refused_in_one_line(table: dict[str, object]) -> None:
    """A mistake is never a traceback."""
    try:
        options = read_options(table, "without_namespace")
    except ConfigurationError as error:
        line = str(error)
        assert line.startswith("without_namespace.")
        assert "\n" not in line
    else:
        assert isinstance(options, ChannelOptions)
