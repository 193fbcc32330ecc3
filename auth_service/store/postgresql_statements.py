"""Single statements on PostgreSQL: run by the driver, on connections that are kept at hand.

To take a connection out of the pool and to put it back costs as much as the statement, and single
statements are what nearly every request asks. So some connections stay out, unless a transaction
would have to wait for one of them.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, cast

from sqlalchemy import Engine, PoolProxiedConnection
from sqlalchemy.ext.asyncio import AsyncEngine
from sqlalchemy.pool import QueuePool
from sqlalchemy.util import greenlet_spawn
from typing_extensions import override

from auth_service.store.statements import Statements

#: What a standby says to who would write.
READ_ONLY = "25006"


class PostgreSQLStatements(Statements):
    """Keeps connections at hand.

    Args:
        engine: Whose pool is used.
        at_hand: Connections that stay out of it at most.
    """

    def __init__(self, engine: AsyncEngine, *, at_hand: int) -> None:
        self._engine = engine
        self._pool: Engine = engine.sync_engine
        self._most = at_hand
        self._at_hand: list[PoolProxiedConnection] = []

    @property
    @override
    def idle(self) -> int:
        return len(self._at_hand)

    @override
    async def run(self, text: str, values: Sequence[Any], *, writes: bool) -> Any | None:
        pooled = self._take()
        if pooled is None:
            pooled = await greenlet_spawn(self._pool.raw_connection)
        driver: Any = pooled.driver_connection
        try:
            row = await driver.fetchrow(text, *values)
        except BaseException as error:
            lost = driver.is_closed() or getattr(error, "sqlstate", None) == READ_ONLY
            # Nobody knows what state it is in.
            await greenlet_spawn(pooled.invalidate)
            await greenlet_spawn(pooled.close)
            if lost:
                # Its server has gone or must not be written to, and so have the others'.
                self.renew()
                await self._engine.dispose()
            raise
        if len(self._at_hand) < self._most and not self._exhausted:
            self._at_hand.append(pooled)
        else:
            await greenlet_spawn(pooled.close)
        return row

    @override
    def make_room(self) -> None:
        if self._at_hand and self._exhausted:
            self._at_hand.pop().close()

    @override
    def renew(self) -> None:
        while self._at_hand:
            pooled = self._at_hand.pop()
            pooled.invalidate(soft=True)
            pooled.close()

    @override
    async def close(self) -> None:
        while self._at_hand:
            await greenlet_spawn(self._at_hand.pop().close)

    @property
    def _exhausted(self) -> bool:
        """Whether somebody may be waiting for the pool, because all of it is in use."""
        pool = cast("QueuePool", self._pool.pool)
        return pool.checkedout() >= pool.size()

    def _take(self) -> PoolProxiedConnection | None:
        """Return the connection that was used last; one that was cut means that all were."""
        if self._at_hand and cast("Any", self._at_hand[-1].driver_connection).is_closed():
            self.renew()
        return self._at_hand.pop() if self._at_hand else None
