"""What may be done in the channels of one namespace, and how a file says so.

The names are Centrifugo's (protocol section 17), so that its documentation can be used with ours.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass, fields, replace
from typing import Any

from ws_gateway.exceptions import ConfigurationError

Duration = float
"""Seconds; a file writes them with their unit, as ``"300s"``."""

RECOVERY_MODES = ("stream", "cache")
DELTA_TYPES = ("fossil",)
SLOW_READERS = ("disconnect", "drop")
DATA_FORMATS = ("", "json", "json_object", "binary")

_NEEDS_HISTORY = (
    "force_positioning",
    "allow_positioning",
    "force_recovery",
    "allow_recovery",
    "auto_cache_recover",
)
_BARE_KEY = re.compile(r"[-a-zA-Z0-9_]+")
_DURATION = re.compile(r"([0-9]{1,9}(?:\.[0-9]{1,9})?)(ms|s|m|h)")
_UNITS = {"ms": 0.001, "s": 1, "m": 60, "h": 3600}
_MAX_HISTORY_SIZE = 1_000_000
_MAX_DURATION = 10 * 365 * 86_400  # Redis counts in milliseconds, and so far it surely can
_KINDS = {"bool": "true or false", "int": "a whole number", "str": "a string"}


@dataclass(frozen=True, slots=True, kw_only=True)
class ChannelOptions:
    """What may be done in the channels of one namespace; nothing by default.

    Attributes:
        presence: Who is subscribed is kept, and can be asked for.
        join_leave: Subscribers who wish it are told who comes and goes.
        force_push_join_leave: ... all of them, whether they wish it or not.
        history_size: How many publications a channel keeps; 0 for no history.
        history_ttl: For how long.
        history_meta_ttl: How long a channel's position is kept without a publication; 0 for
            the broker's own time. Redis keeps it an hour at most before the first publication.
        force_positioning: Every subscription is told of a gap.
        allow_positioning: ... if the client asks for it.
        force_recovery: Every subscription can be resumed where it broke off.
        allow_recovery: ... if the client asks for it.
        force_recovery_mode: `stream` resumes with all that was missed, `cache` with the latest.
        auto_cache_recover: A new subscription begins with the latest publication.
        allowed_delta_types: The kinds of differences a subscriber may ask for: `fossil`.
        delta_publish: Publications are prepared to be sent as differences.
        allow_tags_filter: Subscribers may choose publications by their tags.
        allow_subscribe_for_client: Any user may subscribe.
        allow_subscribe_for_anonymous: ... guests too.
        allow_publish_for_client: Any user may publish.
        allow_publish_for_subscriber: Any user who is subscribed may publish.
        allow_publish_for_anonymous: ... guests too, where the two above say so of users.
        allow_presence_for_client: Any user may see who is subscribed.
        allow_presence_for_subscriber: Any user who is subscribed may see it.
        allow_presence_for_anonymous: ... guests too, where the two above say so of users.
        allow_history_for_client: Any user may read the history.
        allow_history_for_subscriber: Any user who is subscribed may read it.
        allow_history_for_anonymous: ... guests too, where the two above say so of users.
        allow_user_limited_channels: `name#1,2` may be subscribed by the users 1 and 2.
        channel_regex: The part after the namespace must contain a match of this.
        publication_data_format: What data must be: `json`, `json_object` or `binary`, which
            lets Protobuf clients publish any bytes; without it JSON.
        slow_reader: What becomes of a subscriber who does not read: `disconnect` (3008), or `drop`,
            which leaves publications out and ends the subscription (2500), so that the client
            subscribes again and recovers; that needs recovery.
    """

    presence: bool = False
    join_leave: bool = False
    force_push_join_leave: bool = False
    history_size: int = 0
    history_ttl: Duration = 0
    history_meta_ttl: Duration = 0
    force_positioning: bool = False
    allow_positioning: bool = False
    force_recovery: bool = False
    allow_recovery: bool = False
    force_recovery_mode: str = "stream"
    auto_cache_recover: bool = False
    allowed_delta_types: tuple[str, ...] = ()
    delta_publish: bool = False
    allow_tags_filter: bool = False
    allow_subscribe_for_client: bool = False
    allow_subscribe_for_anonymous: bool = False
    allow_publish_for_client: bool = False
    allow_publish_for_subscriber: bool = False
    allow_publish_for_anonymous: bool = False
    allow_presence_for_client: bool = False
    allow_presence_for_subscriber: bool = False
    allow_presence_for_anonymous: bool = False
    allow_history_for_client: bool = False
    allow_history_for_subscriber: bool = False
    allow_history_for_anonymous: bool = False
    allow_user_limited_channels: bool = False
    channel_regex: str = ""
    publication_data_format: str = ""
    slow_reader: str = "disconnect"

    @property
    def binary(self) -> bool:
        """Whether a payload may be something else than JSON."""
        return self.publication_data_format == "binary"

    @property
    def history(self) -> bool:
        """Whether publications are kept."""
        return self.history_size > 0 and self.history_ttl > 0

    def overridden(self, override: Iterable[tuple[str, bool]]) -> ChannelOptions:
        """Return what holds for one subscription whose token says otherwise.

        Nothing is forced that needs a history where there is none.
        """
        chosen: dict[str, Any] = {
            option: value
            for option, value in override
            if self.history or not value or option not in _NEEDS_HISTORY
        }
        return replace(self, **chosen) if chosen else self


def read_options(value: object, name: str) -> ChannelOptions:
    """Read the table that a file has for one namespace.

    Args:
        value: What the file says.
        name: The table's name, for the message.

    Raises:
        ConfigurationError: A sentence about the first thing that is wrong.
    """
    known = {option.name: str(option.type) for option in fields(ChannelOptions)}
    given: dict[str, Any] = {}
    for option, said in table(value, name).items():
        if option not in known:
            raise ConfigurationError(f"{name}.{key(option)}: unknown option")
        try:
            given[option] = _read(said, known[option])
        except ValueError as error:
            raise ConfigurationError(f"{name}.{option}: {error}") from None
    options = ChannelOptions(**given)
    for option, mistake in _mistakes(options):
        raise ConfigurationError(f"{name}.{option}: {mistake}")
    return options


def table(value: object, name: str) -> dict[str, Any]:
    """Return a table of the file.

    Raises:
        ConfigurationError: It is something else.
    """
    if not isinstance(value, dict):
        raise ConfigurationError(f"{name}: must be a table")
    return value


def key(name: str) -> str:
    """Write a key for a message; a quoted one may hold what would break its one line."""
    return name if _BARE_KEY.fullmatch(name) else repr(name)


def _read(value: object, kind: str) -> object:
    if kind == "Duration":
        return _duration(value)
    if kind.startswith("tuple"):
        if not isinstance(value, list) or not all(isinstance(item, str) for item in value):
            raise ValueError("must be a list of strings")
        return tuple(value)
    if type(value).__name__ != kind:
        raise ValueError(f"must be {_KINDS[kind]}")
    return value


def _duration(value: object) -> Duration:
    match = _DURATION.fullmatch(value) if isinstance(value, str) else None
    if match is None:
        raise ValueError('must be a time with its unit, ms, s, m or h, such as "300s"')
    seconds = float(match[1]) * _UNITS[match[2]]
    if seconds > _MAX_DURATION:
        raise ValueError("must be ten years at most")
    return seconds


def _mistakes(options: ChannelOptions) -> list[tuple[str, str]]:
    """List which options are wrong, or mean nothing beside the others, and why."""
    mistakes = []
    if not 0 <= options.history_size <= _MAX_HISTORY_SIZE:
        mistakes.append(("history_size", f"must be from 0 to {_MAX_HISTORY_SIZE}"))
    if options.history_size and not options.history_ttl:
        mistakes.append(("history_size", "needs history_ttl"))
    if options.history_ttl and not options.history_size:
        mistakes.append(("history_ttl", "needs history_size"))
    if options.history_meta_ttl and options.history_meta_ttl < options.history_ttl:
        mistakes.append(("history_meta_ttl", "must not be shorter than history_ttl"))
    mistakes += [
        (option, "needs history_size and history_ttl")
        for option in _NEEDS_HISTORY
        if getattr(options, option) and not options.history
    ]
    if options.force_recovery_mode not in RECOVERY_MODES:
        mistakes.append(("force_recovery_mode", f"must be one of {_listed(RECOVERY_MODES)}"))
    if options.auto_cache_recover and options.force_recovery_mode != "cache":
        mistakes.append(("auto_cache_recover", 'needs force_recovery_mode = "cache"'))
    if not set(options.allowed_delta_types) <= set(DELTA_TYPES):
        mistakes.append(("allowed_delta_types", f"must be of {_listed(DELTA_TYPES)}"))
    if options.force_push_join_leave and not options.join_leave:
        mistakes.append(("force_push_join_leave", "needs join_leave"))
    if options.publication_data_format not in DATA_FORMATS:
        mistakes.append(("publication_data_format", f"must be one of {_listed(DATA_FORMATS[1:])}"))
    mistakes += _slow_reader_mistakes(options)
    mistakes += _permission_mistakes(options)
    try:
        re.compile(options.channel_regex)
    except re.error as error:
        mistakes.append(("channel_regex", str(error)))
    return mistakes


def _slow_reader_mistakes(options: ChannelOptions) -> list[tuple[str, str]]:
    if options.slow_reader not in SLOW_READERS:
        return [("slow_reader", f"must be one of {_listed(SLOW_READERS)}")]
    if options.slow_reader == "drop" and not (options.force_recovery or options.allow_recovery):
        # Whoever cannot recover would lose without a chance to learn what.
        return [("slow_reader", '"drop" needs force_recovery or allow_recovery')]
    return []


def _permission_mistakes(options: ChannelOptions) -> list[tuple[str, str]]:
    mistakes = []
    if options.allow_subscribe_for_anonymous and not options.allow_subscribe_for_client:
        mistakes.append(("allow_subscribe_for_anonymous", "needs allow_subscribe_for_client"))
    for what in ("publish", "presence", "history"):
        client, subscriber = f"allow_{what}_for_client", f"allow_{what}_for_subscriber"
        guests = f"allow_{what}_for_anonymous"
        if getattr(options, guests) and not (
            getattr(options, client) or getattr(options, subscriber)
        ):
            mistakes.append((guests, f"needs {client} or {subscriber}"))
    return mistakes


def _listed(names: tuple[str, ...]) -> str:
    return ", ".join(names)
