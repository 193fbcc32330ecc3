"""The grammar of channel names, and the file that says which there are.

``$namespace:rest#user1,user2``: the namespace is what stands before the first ``:``, the users a
channel is limited to stand after the last ``#``, and a ``$`` in front makes it private. Namespaces
and their options come from a TOML file.
"""

from __future__ import annotations

import re
import tomllib
from dataclasses import dataclass, field
from typing import Self

from msgspec import Struct

from ws_gateway.channel_options import ChannelOptions, key, read_options, table
from ws_gateway.codes import ErrorCode
from ws_gateway.exceptions import ConfigurationError, ReplyError

__all__ = ["Channel", "ChannelOptions", "Channels"]

MAX_CHANNEL_LENGTH = 255
PRIVATE_PREFIX, NAMESPACE_BOUNDARY, USER_BOUNDARY, USER_SEPARATOR = "$", ":", "#", ","

_MAX_RESOLVED = 10_000  # some megabytes at most

_NAMESPACE = re.compile(r"[-a-zA-Z0-9_]{2,}")
_PRINTABLE_ASCII = re.compile(r"[\x20-\x7e]+")
# The charset of our own subjects, with the prefix that a second issuer's users carry. Others
# could name several users at once, or another's channel.
_NAMEABLE_USER = re.compile(r"(?:[a-z0-9]{1,16}\.)?[A-Za-z0-9_-]{1,64}")


class Channel(Struct, frozen=True, gc=False):
    """One channel name, taken apart.

    Attributes:
        name: The whole name.
        options: Those of its namespace.
        private: Only a token for this very channel lets a client in.
        personal: It lies in the namespace of personal channels.
        users: The users it is limited to; empty if it is not.
    """

    name: str
    options: ChannelOptions
    private: bool
    personal: bool
    users: tuple[str, ...]

    def is_limited_to(self, user: str) -> bool:
        """Whether the user is in the list of those it is limited to.

        One whose id could be mistaken for a list, or for a part of one, never is.
        """
        return user in self.users and _NAMEABLE_USER.fullmatch(user) is not None


@dataclass(frozen=True, slots=True, kw_only=True)
class Channels:
    """All channels that exist: the namespaces and what is true of each.

    Attributes:
        without_namespace: Options of names without a ``:``.
        namespaces: Options by namespace.
        personal_channel_namespace: Every user is subscribed to ``NAMESPACE:#USER`` by the
            server; ``""`` means ``#USER``, None that there are no personal channels.
        allow_anonymous_connect: Whoever brings no credential is a guest, the user ``""``.
        insecure: Permissions are not asked for (``GATEWAY_INSECURE``, never the file).
    """

    without_namespace: ChannelOptions = field(default_factory=ChannelOptions)
    namespaces: dict[str, ChannelOptions] = field(default_factory=dict)
    personal_channel_namespace: str | None = None
    allow_anonymous_connect: bool = False
    insecure: bool = False
    _resolved: dict[str, Channel] = field(
        default_factory=dict, init=False, repr=False, compare=False
    )

    @classmethod
    def from_toml(cls, text: str) -> Self:
        """Read a channels file.

        Raises:
            ConfigurationError: A sentence about the first thing that is wrong.
        """
        try:
            document = tomllib.loads(text)
        except tomllib.TOMLDecodeError as error:
            raise ConfigurationError(f"not TOML: {error}") from None
        if unknown := document.keys() - {"client", "without_namespace", "namespaces"}:
            raise ConfigurationError(f"unknown section {min(unknown)!r}")
        client = table(document.get("client", {}), "client")
        if unknown := client.keys() - {"personal_channel_namespace", "allow_anonymous_connect"}:
            raise ConfigurationError(f"client.{key(min(unknown))}: unknown option")
        personal = client.get("personal_channel_namespace")
        if personal is not None and not isinstance(personal, str):
            raise ConfigurationError("client.personal_channel_namespace: must be a string")
        guests = client.get("allow_anonymous_connect", False)
        if not isinstance(guests, bool):
            raise ConfigurationError("client.allow_anonymous_connect: must be true or false")
        namespaces = {}
        for name, options in table(document.get("namespaces", {}), "namespaces").items():
            if not _NAMESPACE.fullmatch(name):
                raise ConfigurationError(
                    f"namespaces.{name!r}: a name is two or more of a-z, A-Z, 0-9, - and _"
                )
            namespaces[name] = read_options(options, f"namespaces.{name}")
        if personal and personal not in namespaces:
            raise ConfigurationError(
                f"client.personal_channel_namespace: there is no namespace {personal!r}"
            )
        return cls(
            without_namespace=read_options(
                document.get("without_namespace", {}), "without_namespace"
            ),
            namespaces=namespaces,
            personal_channel_namespace=personal,
            allow_anonymous_connect=guests,
        )

    def resolve(self, name: str) -> Channel:
        """Take a channel name apart.

        Raises:
            ReplyError: 107 for a name that cannot be one, 102 for an unknown namespace.
        """
        # Every publication asks; what is published into is mostly what was published into before.
        channel = self._resolved.get(name)
        if channel is None:
            channel = self._take_apart(name)
            if len(self._resolved) >= _MAX_RESOLVED:
                self._resolved.clear()
            self._resolved[name] = channel
        return channel

    def _take_apart(self, name: str) -> Channel:
        if len(name) > MAX_CHANNEL_LENGTH or not _PRINTABLE_ASCII.fullmatch(name):
            raise ReplyError(ErrorCode.BAD_REQUEST)
        public = name.removeprefix(PRIVATE_PREFIX)
        namespace, boundary, rest = public.partition(NAMESPACE_BOUNDARY)
        if boundary:
            options = self.namespaces.get(namespace)
            if options is None:
                raise ReplyError(ErrorCode.UNKNOWN_CHANNEL)
        else:
            namespace, rest, options = "", public, self.without_namespace
        if options.channel_regex and not re.search(options.channel_regex, rest):
            raise ReplyError(ErrorCode.BAD_REQUEST)
        _, limited, users = rest.rpartition(USER_BOUNDARY)
        return Channel(
            name=name,
            options=options,
            private=public != name,
            personal=namespace == self.personal_channel_namespace
            and (bool(namespace) or rest.startswith(USER_BOUNDARY)),
            users=tuple(users.split(USER_SEPARATOR)) if limited else (),
        )

    def personal_channel(self, user: str) -> str | None:
        """Name the channel of one user; None if there are none, or not for such a user id."""
        namespace = self.personal_channel_namespace
        if namespace is None or not _NAMEABLE_USER.fullmatch(user):
            return None
        return f"{namespace}:{USER_BOUNDARY}{user}" if namespace else USER_BOUNDARY + user

    def is_personal_channel_of_someone(self, channel: Channel) -> bool:
        """Whether this is exactly the name that some user's personal channel has."""
        return len(channel.users) == 1 and channel.name == self.personal_channel(channel.users[0])
