"""The operator's own code inside the gateway: named methods that clients call by ``rpc``."""

from __future__ import annotations

import asyncio
import functools
import importlib
import inspect
import logging
from collections.abc import Awaitable, Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any, TypeVar

import msgspec

from ws_gateway.codes import ErrorCode
from ws_gateway.exceptions import ConfigurationError, ReplyError

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Caller:
    """Who calls; a hook never sees a token.

    Attributes:
        user: The user's id.
        client: The connection's id.
        scopes: What the user's token allows.
        info: What others see of the user, decoded; None if the token says nothing.
    """

    user: str
    client: str
    scopes: frozenset[str]
    info: Any


RPCMethod = Callable[[Caller, Any], Any]
"""Takes the caller and the decoded ``data``; returns what JSON can say, or an awaitable of it."""

_Method = TypeVar("_Method", bound=RPCMethod)


class Hooks:
    """A table of hooks, filled by decorators and named by ``GATEWAY_HOOKS=module:object``.

    Args:
        timeout_seconds: How long one call may take; then its command fails with error 100.
        threads: How many plain functions run at once; coroutines run on the event loop.

    Example:
        ``hooks = Hooks()`` and, above a function, ``@hooks.rpc("echo")``.
    """

    def __init__(self, *, timeout_seconds: float = 10, threads: int = 8) -> None:
        self._timeout = timeout_seconds
        self._methods: dict[str, RPCMethod] = {}
        self._executor = ThreadPoolExecutor(threads, thread_name_prefix="hooks")

    def rpc(self, method: str) -> Callable[[_Method], _Method]:
        """Register the decorated function as the rpc method of this name.

        It may raise ``ws_gateway.exceptions.ReplyError`` with a code of its own (400-1999).
        """

        def register(function: _Method) -> _Method:
            self._methods[method] = function
            return function

        return register

    async def call(self, caller: Caller, method: str, data: bytes) -> bytes:
        """Run a method.

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
        """
        function = self._methods.get(method)
        if function is None:
            raise ReplyError(ErrorCode.METHOD_NOT_FOUND)
        try:
            argument = msgspec.json.decode(data) if data else None
        except RecursionError:
            raise ReplyError(ErrorCode.BAD_REQUEST) from None
        # A task of its own, because hooks may use what needs one (timeouts, task groups).
        task = asyncio.ensure_future(self._run(function, caller, argument))
        task.add_done_callback(_retrieve)
        try:
            await asyncio.wait([task])
        finally:
            task.cancel()  # the caller has gone: nobody waits for the answer
        try:
            return task.result()
        except ReplyError:
            raise
        # A hook may be cancelled from within; only above it would have been the caller.
        except (Exception, asyncio.CancelledError) as error:
            logger.exception("hook failed", extra={"method": method})
            raise ReplyError(ErrorCode.INTERNAL) from error

    async def _run(self, function: RPCMethod, caller: Caller, argument: Any) -> bytes:  # noqa: ANN401 - whatever JSON holds
        async with asyncio.timeout(self._timeout):
            if inspect.iscoroutinefunction(function):
                result = await function(caller, argument)
            else:
                work = functools.partial(_call, function, caller, argument)
                result = await asyncio.get_running_loop().run_in_executor(self._executor, work)
                if isinstance(result, Awaitable):
                    result = await result
            return msgspec.json.encode(result)

    def close(self) -> None:
        """Start no more calls."""
        self._executor.shutdown(wait=False, cancel_futures=True)


def _retrieve(task: asyncio.Task[bytes]) -> None:
    # What a hook raises when nobody waits any more is not reported as forgotten.
    if not task.cancelled():
        task.exception()


def _call(function: RPCMethod, caller: Caller, argument: Any) -> Any:  # noqa: ANN401 - any JSON
    try:
        return function(caller, argument)
    except StopIteration as error:
        # No future takes this one: the call would seem to run for ever.
        raise RuntimeError("the hook raised StopIteration") from error


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
