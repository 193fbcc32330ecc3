"""How an order is carried out: on a service of its own that serves nobody."""

from __future__ import annotations

import argparse
import asyncio
import os
from collections.abc import Awaitable, Callable

import uvloop

from auth_service.app import Service, explain, open_for_orders
from auth_service.commands.output import notice
from auth_service.exceptions import StoreUnavailable
from auth_service.settings import Settings

Order = Callable[[Service, argparse.Namespace], Awaitable[None]]
Run = Callable[[argparse.Namespace], int]


def order(function: Order) -> Run:
    """Make a command of what is done with an open service.

    What it revoked is in Redis when the command ends, unless Redis does not answer: then a serving
    process publishes it as soon as there is one and Redis is back.
    """

    def run(options: argparse.Namespace) -> int:
        async def carry_out() -> None:
            settings = Settings.from_environment(os.environ)
            try:
                async with open_for_orders(settings) as service:
                    await function(service, options)
                    if not await service.publish_revocations():
                        notice(
                            "AUTH_REDIS_URL: Redis does not answer; the order stands, gateways"
                            " hear of it from a serving process"
                        )
            except StoreUnavailable as error:
                raise explain(error) from None

        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            runner.run(carry_out())
        return 0

    return run
