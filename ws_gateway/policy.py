"""Who may do what in which channel; pure functions of the rules and the credentials.

Each ``check_`` raises 102 or 107 for the name, 108 for what the namespace does not have, and 103
for what is not allowed there.
"""

from __future__ import annotations

from ws_gateway.channels import Channel, Channels
from ws_gateway.codes import ErrorCode
from ws_gateway.credentials import Credentials
from ws_gateway.exceptions import ReplyError


def check_subscribe(
    channels: Channels, credentials: Credentials, name: str, *, token: bool = False
) -> Channel:
    """Let a client subscribe, or raise.

    Personal channels are subscribed by the server alone, and private ones by a token for them,
    whatever their namespace allows.

    Args:
        channels: The rules.
        credentials: Who asks.
        name: The channel.
        token: A good token for this very channel came with the command.

    Raises:
        ReplyError: 102 or 107 for the name, 103 where it is not allowed.
    """
    channel = channels.resolve(name)
    options = channel.options
    if token:
        allowed = not channel.personal
    elif channel.private:
        allowed = False
    elif channels.insecure:
        allowed = True
    elif channel.personal:
        allowed = False
    elif channel.users:
        allowed = options.allow_user_limited_channels and channel.is_limited_to(credentials.user)
    else:
        allowed = options.allow_subscribe_for_client and (
            bool(credentials.user) or options.allow_subscribe_for_anonymous
        )
    if not allowed:
        raise ReplyError(ErrorCode.PERMISSION_DENIED)
    return channel


def check_publish(
    channels: Channels, credentials: Credentials, name: str, *, subscribed: bool
) -> Channel:
    """Let a client publish, or raise.

    Raises:
        ReplyError: 102 or 107 for the name, 103 where it is not allowed, or where a personal
            channel is not the name of exactly one user's.
    """
    channel = channels.resolve(name)
    if channel.personal and not channels.is_personal_channel_of_someone(channel):
        raise ReplyError(ErrorCode.PERMISSION_DENIED)
    options = channel.options
    if not channels.insecure and not (
        (options.allow_publish_for_client or (subscribed and options.allow_publish_for_subscriber))
        and (credentials.user or options.allow_publish_for_anonymous)
    ):
        raise ReplyError(ErrorCode.PERMISSION_DENIED)
    return channel


def check_presence(
    channels: Channels, credentials: Credentials, name: str, *, subscribed: bool
) -> Channel:
    """Let a client see who is subscribed, or raise.

    Raises:
        ReplyError: 102 or 107 for the name, 108 without presence, 103 where it is not allowed.
    """
    channel = channels.resolve(name)
    if not channel.options.presence:
        raise ReplyError(ErrorCode.NOT_AVAILABLE)
    if not may_see_presence(channels, credentials, channel, subscribed=subscribed):
        raise ReplyError(ErrorCode.PERMISSION_DENIED)
    return channel


def check_history(
    channels: Channels, credentials: Credentials, name: str, *, subscribed: bool
) -> Channel:
    """Let a client read the history, or raise.

    Raises:
        ReplyError: 102 or 107 for the name, 108 without history, 103 where it is not allowed.
    """
    channel = channels.resolve(name)
    if not channel.options.history:
        raise ReplyError(ErrorCode.NOT_AVAILABLE)
    if not may_read_history(channels, credentials, channel, subscribed=subscribed):
        raise ReplyError(ErrorCode.PERMISSION_DENIED)
    return channel


def may_see_presence(
    channels: Channels, credentials: Credentials, channel: Channel, *, subscribed: bool
) -> bool:
    """Whether a client is allowed to know who is there; join/leave pushes ask the same."""
    options = channel.options
    return channels.insecure or (
        _may_read(
            credentials,
            channel,
            subscribed=subscribed,
            for_client=options.allow_presence_for_client,
            for_subscriber=options.allow_presence_for_subscriber,
        )
        and (bool(credentials.user) or options.allow_presence_for_anonymous)
    )


def may_read_history(
    channels: Channels, credentials: Credentials, channel: Channel, *, subscribed: bool
) -> bool:
    """Whether a client is allowed to know what was said; positions and recovery ask the same."""
    options = channel.options
    return channels.insecure or (
        _may_read(
            credentials,
            channel,
            subscribed=subscribed,
            for_client=options.allow_history_for_client,
            for_subscriber=options.allow_history_for_subscriber,
        )
        and (bool(credentials.user) or options.allow_history_for_anonymous)
    )


def _may_read(
    credentials: Credentials,
    channel: Channel,
    *,
    subscribed: bool,
    for_client: bool,
    for_subscriber: bool,
) -> bool:
    if subscribed:
        return for_client or for_subscriber
    # A channel that is not for everybody is not read by everybody either.
    limited = channel.personal or bool(channel.users)
    if channel.private or (limited and not channel.is_limited_to(credentials.user)):
        return False
    return for_client
