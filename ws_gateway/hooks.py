"""The operator's own code inside the gateway: who may do what, and methods that clients call."""

from __future__ import annotations

import importlib
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TypeVar

import msgspec

from ws_gateway.codes import ErrorCode
from ws_gateway.exceptions import ConfigurationError, GatewayError, ReplyError
from ws_gateway.hook_calls import HookCalls
from ws_gateway.hook_notices import Notices

DEFAULT_TIMEOUT_SECONDS = 10.0
_NOTICES_GRACE_SECONDS = 5.0


@dataclass(frozen=True, slots=True)
class Caller:
    """Who is at the other end; a hook never sees a token.

    Attributes:
        user: The user's id; empty for a guest.
        client: The connection's id.
        scopes: What the user's token allows.
        info: What others see of the user, decoded; None if the token says nothing.
        meta: What the token says to hooks alone, decoded; None if nothing.
    """

    user: str
    client: str
    scopes: frozenset[str]
    info: Any
    meta: Any = None


@dataclass(frozen=True, slots=True, kw_only=True)
class ConnectAnswer:
    """What a connect hook adds.

    Attributes:
        info: Shown to others as ``conn_info``, in place of what the token says; None leaves that.
        data: For the client, in the connect reply.
        channels: Server-side subscriptions besides those of the token.
    """

    info: Any = None
    data: Any = None
    channels: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class SubscribeAnswer:
    """What a subscribe hook adds.

    Attributes:
        info: Shown to others as ``chan_info``, in place of what a token says; None leaves that.
        data: For the client, in the subscribe reply.
    """

    info: Any = None
    data: Any = None


@dataclass(frozen=True, slots=True)
class PublishAnswer:
    """What a publish hook publishes in place of what the client sent."""

    data: Any


@dataclass(frozen=True, slots=True, kw_only=True)
class Connected:
    """A connect hook's answer as JSON text."""

    info: bytes | None = None
    data: bytes | None = None
    channels: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Subscribed:
    """A subscribe hook's answer as JSON text."""

    info: bytes | None = None
    data: bytes | None = None


Hook = Callable[..., Any]
"""A coroutine function, or a plain one, which is run in a thread."""

_Hook = TypeVar("_Hook", bound=Hook)


class Hooks:
    """A table of hooks, filled by decorators and named by ``GATEWAY_HOOKS=module:object``.

    Any of them may raise ``ws_gateway.exceptions.ReplyError`` with a code of its own (400-1999) or
    of the protocol, which fails the command, or ``Disconnect`` with a code of its own (4000-4999)
    and a ``reason``, which ends the connection. Whatever else it raises is error 100.

    Args:
        timeout_seconds: How long one call may take; then its command fails with error 100. The
            gateway's setting if None.
        threads: How many plain functions run at once; coroutines run on the event loop.

    Example:
        ``hooks = Hooks()`` and, above a function, ``@hooks.rpc("echo")`` or ``@hooks.publish``.
    """

    def __init__(self, *, timeout_seconds: float | None = None, threads: int = 8) -> None:
        self._own_timeout = timeout_seconds is not None
        self._calls = HookCalls(
            timeout_seconds=DEFAULT_TIMEOUT_SECONDS if timeout_seconds is None else timeout_seconds,
            threads=threads,
        )
        self._notices = Notices(self._tell)
        self._methods: dict[str, Hook] = {}
        self._connect: Hook | None = None
        self._subscribe: Hook | None = None
        self._publish: Hook | None = None
        self._disconnect: Hook | None = None

    # For the operator

    def rpc(self, method: str) -> Callable[[_Hook], _Hook]:
        """Register the decorated function as the rpc method of this name.

        It takes the caller and the decoded ``data``, and returns what JSON can say.
        """

        def register(function: _Hook) -> _Hook:
            self._methods[method] = function
            return function

        return register

    def connect(self, function: _Hook) -> _Hook:
        """Register the decorated function: who may connect.

        It takes the caller and the decoded ``data`` of the connect command, and returns a
        ``ConnectAnswer`` or None. It is asked after the token was found good.
        """
        self._connect = function
        return function

    def subscribe(self, function: _Hook) -> _Hook:
        """Register the decorated function: who may subscribe.

        It takes the caller, the channel and the decoded ``data`` of the subscribe command, and
        returns a ``SubscribeAnswer`` or None. It is asked about what the channels file or a token
        allows, and not about the server's own subscriptions.
        """
        self._subscribe = function
        return function

    def publish(self, function: _Hook) -> _Hook:
        """Register the decorated function: what may be published.

        It takes the caller, the channel and the decoded ``data`` (bytes where a Protobuf client
        sent something else than JSON), and returns a ``PublishAnswer`` or None, which leaves the
        data as it is. It is asked about what the channels file allows.
        """
        self._publish = function
        return function

    def disconnect(self, function: _Hook) -> _Hook:
        """Register the decorated function: told who has gone, and the close code.

        Nobody waits for it. What it is told may come late, and out of order; with too many
        waiting, notices are dropped.
        """
        self._disconnect = function
        return function

    # For the gateway

    def set_timeout(self, seconds: float) -> None:
        """Set how long a call may take, unless the operator's module says so itself."""
        if not self._own_timeout:
            self._calls.timeout_seconds = seconds

    @property
    def checks_publications(self) -> bool:
        """Whether there is a publish hook."""
        return self._publish is not None

    @property
    def checks_subscriptions(self) -> bool:
        """Whether there is a subscribe hook."""
        return self._subscribe is not None

    @property
    def notices_dropped(self) -> int:
        """How many disconnects were not told, because too many waited."""
        return self._notices.dropped

    def has(self, method: str) -> bool:
        """Whether there is an rpc method of this name."""
        return method in self._methods

    async def call(self, caller: Caller, method: str, data: bytes) -> bytes:
        """Run an rpc method.

        Args:
            caller: Who asks.
            method: Which one.
            data: The argument as JSON text; empty means None.

        Returns:
            The result as JSON text.

        Raises:
            ReplyError: 104 for an unknown method, 107 for an argument that nests too deep, 100 if
                the method raises, takes too long or returns what JSON cannot say, or the error it
                raised itself.
            Disconnect: It wants the connection to end.
        """
        function = self._methods.get(method)
        if function is None:
            raise ReplyError(ErrorCode.METHOD_NOT_FOUND)
        argument = _decode(data)
        return await self._calls.run(
            f"rpc {method}", msgspec.json.encode, function, caller, argument
        )

    async def on_connect(self, caller: Caller, data: bytes) -> Connected:
        """Ask whether somebody may connect; the empty answer without a hook.

        Raises:
            ReplyError: The connect command fails.
            Disconnect: The connection ends.
        """
        if self._connect is None:
            return Connected()
        return await self._calls.run("connect", _read_connect, self._connect, caller, _decode(data))

    async def on_subscribe(self, caller: Caller, channel: str, data: bytes) -> Subscribed:
        """Ask whether somebody may subscribe; the empty answer without a hook.

        Raises:
            ReplyError: The subscribe command fails.
            Disconnect: The connection ends.
        """
        if self._subscribe is None:
            return Subscribed()
        return await self._calls.run(
            "subscribe", _read_subscribe, self._subscribe, caller, channel, _decode(data)
        )

    async def on_publish(self, caller: Caller, channel: str, data: bytes) -> bytes:
        """Ask what to publish; what was given without a hook.

        Raises:
            ReplyError: The publish command fails.
            Disconnect: The connection ends.
        """
        if self._publish is None:
            return data
        argument = _decode_any(data)

        def read(answer: object) -> bytes:
            if answer is None:
                return data
            if not isinstance(answer, PublishAnswer):
                raise TypeError("a publish hook returns a PublishAnswer or None")
            return msgspec.json.encode(answer.data)

        return await self._calls.run("publish", read, self._publish, caller, channel, argument)

    def on_disconnect(self, caller: Caller, code: int) -> None:
        """Tell that somebody has gone; never waits."""
        if self._disconnect is not None:
            self._notices.put((caller, code))

    async def _tell(self, notice: tuple[Caller, int]) -> None:
        if self._disconnect is None:
            return
        try:
            await self._calls.run("disconnect", _pass_over, self._disconnect, *notice)
        except GatewayError:
            return  # it is in the log, and nobody asked

    async def finish(self) -> None:
        """Wait a few seconds for what is still to be told."""
        await self._notices.finish(_NOTICES_GRACE_SECONDS)

    def close(self) -> None:
        """Start no more calls."""
        self._notices.close()
        self._calls.close()


def _decode(data: bytes) -> Any:  # noqa: ANN401 - whatever JSON holds
    if not data:
        return None
    try:
        return msgspec.json.decode(data)
    except (msgspec.MsgspecError, RecursionError, UnicodeDecodeError):
        raise ReplyError(ErrorCode.BAD_REQUEST) from None


def _decode_any(data: bytes) -> Any:  # noqa: ANN401 - JSON, or bytes
    try:
        return msgspec.json.decode(data)
    except (msgspec.MsgspecError, UnicodeDecodeError):
        return data
    except RecursionError:
        raise ReplyError(ErrorCode.BAD_REQUEST) from None


def _encode(value: object) -> bytes | None:
    return None if value is None else msgspec.json.encode(value)


def _read_connect(answer: object) -> Connected:
    if answer is None:
        return Connected()
    if not isinstance(answer, ConnectAnswer):
        raise TypeError("a connect hook returns a ConnectAnswer or None")
    channels = msgspec.convert(answer.channels, tuple[str, ...], strict=True)
    return Connected(info=_encode(answer.info), data=_encode(answer.data), channels=channels)


def _read_subscribe(answer: object) -> Subscribed:
    if answer is None:
        return Subscribed()
    if not isinstance(answer, SubscribeAnswer):
        raise TypeError("a subscribe hook returns a SubscribeAnswer or None")
    return Subscribed(info=_encode(answer.info), data=_encode(answer.data))


def _pass_over(_answer: object) -> None:
    """Nobody reads what a notice is answered."""


def load_hooks(path: str) -> Hooks:
    """Import ``module:object``.

    Raises:
        ConfigurationError: It cannot be imported or is no :class:`Hooks`.
    """
    module_name, _, attribute = path.partition(":")
    try:
        hooks = getattr(importlib.import_module(module_name), attribute)
    except Exception as error:  # it runs the operator's module: anything may come of that
        reason = " ".join(f"{type(error).__name__}: {error}".split())
        raise ConfigurationError(f"GATEWAY_HOOKS: cannot import {path!r}: {reason}") from error
    if not isinstance(hooks, Hooks):
        raise ConfigurationError(f"GATEWAY_HOOKS: {path!r} is not a ws_gateway.hooks.Hooks")
    return hooks
