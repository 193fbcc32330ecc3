"""Who may do what in which channel; pure functions of the rules and the credentials."""

from __future__ import annotations

from ws_gateway.channels import Channel, Channels
from ws_gateway.codes import ErrorCode
from ws_gateway.credentials import Credentials
from ws_gateway.exceptions import ReplyError


def check_subscribe(channels: Channels, credentials: Credentials, name: str) -> None:
    """Let a client subscribe, or raise.

    Personal channels are subscribed by the server alone, and private ones by a token for them,
    whatever their namespace allows.

    Raises:
        ReplyError: 102 or 107 for the name, 103 where it is not allowed.
    """
    channel = channels.resolve(name)
    if channel.personal or channel.private:
        raise ReplyError(ErrorCode.PERMISSION_DENIED)
    if channel.users:
        allowed = channel.options.allow_user_limited_channels and channel.is_limited_to(
            credentials.user
        )
    else:
        allowed = channel.options.allow_subscribe_for_client
    if not allowed:
        raise ReplyError(ErrorCode.PERMISSION_DENIED)


def check_publish(channels: Channels, name: str, *, subscribed: bool) -> Channel:
    """Let a client publish, or raise.

    Raises:
        ReplyError: 102 or 107 for the name, 103 where it is not allowed, or where a personal
            channel is not the name of exactly one user's.
    """
    channel = channels.resolve(name)
    if channel.personal and not channels.is_personal_channel_of_someone(channel):
        raise ReplyError(ErrorCode.PERMISSION_DENIED)
    options = channel.options
    if not (
        options.allow_publish_for_client or (subscribed and options.allow_publish_for_subscriber)
    ):
        raise ReplyError(ErrorCode.PERMISSION_DENIED)
    return channel
