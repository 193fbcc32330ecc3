"""What nodes say to each other: orders to all, their answers, and what a client said elsewhere."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from itertools import count

from ws_gateway.codes import ErrorCode
from ws_gateway.control.base import Bus
from ws_gateway.control.messages import (
    MAX_ANSWER_BYTES,
    Answer,
    Order,
    Question,
    Relayed,
    decode,
    encode,
)
from ws_gateway.exceptions import BrokerUnavailable, ReplyError

logger = logging.getLogger(__name__)

_MAX_AT_WORK = 1000
_CODES: dict[int, ErrorCode] = {int(code): code for code in ErrorCode}

Perform = Callable[[Order], Awaitable[bytes]]
"""Carries an order out in this process; returns its result as JSON, or raises ReplyError."""

TakeRelayed = Callable[[Relayed], None]
"""Takes what a client said on another node. Synchronous and quick, must not raise."""


@dataclass(slots=True)
class Answers:
    """What the nodes said to one order.

    Attributes:
        expected: How many nodes were asked; None until that is known.
        given: The answers, in the order in which they came.
        complete: Set once all have answered.
    """

    expected: int | None = None
    given: list[Answer] = field(default_factory=list)
    complete: asyncio.Event = field(default_factory=asyncio.Event)

    def check(self) -> None:
        """Set ``complete`` if that is so."""
        if self.expected is not None and len(self.given) >= self.expected:
            self.complete.set()

    @property
    def results(self) -> list[bytes]:
        """Return what was found; see :attr:`whole`."""
        return [answer.result for answer in self.given if not answer.code]

    @property
    def whole(self) -> bool:
        """Whether every node has said what was asked for."""
        return self.complete.is_set() and not any(answer.code for answer in self.given)

    def require(self) -> list[Answer]:
        """Return the answers if all nodes have carried the order out.

        Raises:
            ReplyError: 100 if one has not answered, or as the first says that could not.
        """
        if not self.complete.is_set():
            raise ReplyError(ErrorCode.INTERNAL)
        for answer in self.given:
            if answer.code:
                raise ReplyError(_CODES.get(answer.code, answer.code))
        return self.given


class Cluster:
    """The nodes that can be asked, this one among them.

    What is on the bus comes from whoever may write to Redis, and nobody else. What does not parse
    is counted and dropped.

    Args:
        bus: Carries the messages.
        node: This one's name.
        perform: Carries an order out in this process.
        timeout: How many seconds answers are waited for.

    Attributes:
        node: This one's name.
        on_relayed: Takes commands that reached another node; None where nobody is to have any.
        malformed: Messages that were dropped, because they are none of ours.
        dropped: Orders that were dropped, because too many were at work.
        unanswered: Orders to which not all nodes answered in time.
    """

    def __init__(self, bus: Bus, *, node: str, perform: Perform, timeout: float) -> None:
        self.node = node
        self.on_relayed: TakeRelayed | None = None
        self.malformed = 0
        self.dropped = 0
        self.unanswered = 0
        self._bus = bus
        self._perform = perform
        self._timeout = timeout
        self._numbers = count(1)
        self._asked: dict[int, Answers] = {}
        self._working: set[asyncio.Task[None]] = set()

    async def start(self) -> None:
        """Begin to take orders."""
        await self._bus.start(self.node, self._receive)

    async def stop(self) -> None:
        """End; what is at work is given up."""
        await self._bus.stop()
        for task in self._working:
            task.cancel()
        await asyncio.gather(*self._working, return_exceptions=True)

    @property
    def ready(self) -> bool:
        """Whether orders reach this node."""
        return self._bus.ready()

    async def ask(self, order: Order) -> Answers:
        """Have every node carry an order out; returns what was said until the deadline.

        Raises:
            ReplyError: 100, the nodes cannot be reached now.
        """
        number = next(self._numbers)
        answers = self._asked[number] = Answers()
        question = encode(Question(version=1, node=self.node, number=number, order=order))
        try:
            answers.expected = await self._send(question)
            answers.check()
            async with asyncio.timeout(self._timeout):
                await answers.complete.wait()
        except BrokerUnavailable as error:
            raise ReplyError(ErrorCode.INTERNAL) from error
        except TimeoutError:
            self.unanswered += 1
            logger.warning(
                "not all nodes answered",
                extra={"asked": answers.expected, "answered": len(answers.given)},
            )
        finally:
            del self._asked[number]
        return answers

    async def relay(self, node: str, commands: Relayed) -> bool:
        """Send a client's commands to another node; returns whether there is such a one.

        Those that come from one node arrive in order, each once or not at all.

        Raises:
            BrokerUnavailable: It was not acknowledged.
        """
        return await self._bus.tell(node, encode(commands))

    async def _send(self, question: bytes) -> int:
        # Who does not hear himself does not hear the answers either.
        if not self._bus.ready():
            raise BrokerUnavailable
        return await self._bus.tell_all(question)

    def _receive(self, message: bytes) -> None:
        try:
            said = decode(message)
        except (ValueError, RecursionError):
            self.malformed += 1
            return
        if isinstance(said, Answer):
            answers = self._asked.get(said.number)
            # An answer that comes too late, or twice, is nobody's.
            if answers is not None and all(one.node != said.node for one in answers.given):
                answers.given.append(said)
                answers.check()
        elif isinstance(said, Relayed):
            if self.on_relayed is not None:
                self.on_relayed(said)
        elif len(self._working) < _MAX_AT_WORK:
            task = asyncio.get_running_loop().create_task(self._answer(said))
            self._working.add(task)
            task.add_done_callback(self._working.discard)
        else:
            self.dropped += 1

    async def _answer(self, question: Question) -> None:
        code, result = 0, b""
        try:
            result = await self._perform(question.order)
        except ReplyError as error:
            code = error.code
        except Exception:
            logger.exception("order not carried out")
            code = ErrorCode.INTERNAL
        answer = Answer(
            version=1, node=self.node, number=question.number, code=int(code), result=result
        )
        message = encode(answer)
        if len(message) > MAX_ANSWER_BYTES:
            message = encode(
                Answer(
                    version=1,
                    node=self.node,
                    number=question.number,
                    code=int(ErrorCode.LIMIT_EXCEEDED),
                )
            )
        try:
            await self._bus.tell(question.node, message)
        except BrokerUnavailable:
            logger.info("an order's answer was lost")
