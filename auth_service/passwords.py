"""Password hashing: Argon2id behind a bounded door.

A hash costs one core and 19 MiB for some 30 ms, so how many run and how many wait is limited here,
apart from the event loop and from every other thread pool.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import re
import secrets
import threading
import time
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from importlib import metadata
from typing import TypeVar

from passlib.context import CryptContext

from auth_service.exceptions import ConfigurationError, Overloaded, WeakPassword
from auth_service.metrics import Metrics

MIN_NEW_PASSWORD_CHARACTERS = 15  # NIST SP 800-63B for a password that stands alone
MAX_PASSWORD_CHARACTERS = 256
MAX_PASSWORD_BYTES = 1024
_SERVICE_NAME = "drawbridge"
_NICENESS = 10
# A shorter name is in too many good passwords.
_NAME_CHARACTERS = 4
_REPEATED = re.compile(r"(.{1,8}?)\1+.{0,7}", re.DOTALL)
# The common ones of 15 characters and more that are no repetition, which is a rule of its own.
_COMMON = frozenset(
    {
        "0123456789abcdef",
        "123456789012345",
        "123456789123456789",
        "1234567890qwerty",
        "1234567890qwertyuiop",
        "1q2w3e4r5t6y7u8i",
        "1q2w3e4r5t6y7u8i9o0p",
        "1qaz2wsx3edc4rfv",
        "1qaz2wsx3edc4rfv5tgb",
        "abcdefghijklmno",
        "abcdefghijklmnop",
        "abcdefghijklmnopqrstuvwxyz",
        "administrator123",
        "correcthorsebatterystaple",
        "iloveyouforever",
        "letmeinletmein1",
        "password12345678",
        "password123456789",
        "password1234567890",
        "q1w2e3r4t5y6u7i8",
        "qazwsxedcrfvtgb",
        "qazwsxedcrfvtgbyhnujm",
        "qwertyuiop123456",
        "qwertyuiop1234567890",
        "qwertyuiopasdfg",
        "qwertyuiopasdfghjkl",
        "qwertyuiopasdfghjklzxcvbnm",
        "thequickbrownfox",
        "zaq12wsxcde34rfv",
        "zxcvbnmasdfghjkl",
    }
)

_Result = TypeVar("_Result")


@dataclass(frozen=True, slots=True)
class HashParameters:
    """Argon2's cost.

    Args:
        memory_kib: KiB of memory, at least 8 times ``lanes``.
        passes: Passes over that memory, at least 1.
        lanes: Lanes; more than one starts threads per hash.
    """

    memory_kib: int
    passes: int
    lanes: int


#: OWASP's minimum for Argon2id; p=1 because the threads are ours to count.
POLICY = HashParameters(memory_kib=19_456, passes=2, lanes=1)
#: A stored hash that asks for more is not computed: a poisoned row could ask for gigabytes. Room
#: is left for a policy that was once higher.
CEILING = HashParameters(memory_kib=65_536, passes=8, lanes=4)

_STORED = re.compile(
    r"\$argon2id\$v=19\$m=([1-9][0-9]{0,7}),t=([1-9][0-9]{0,3}),p=([1-9][0-9]{0,2})"
    r"\$[A-Za-z0-9+/]{11,86}\$[A-Za-z0-9+/]{22,86}"
)


@dataclass(frozen=True, slots=True)
class Verdict:
    """The outcome of one check.

    Args:
        correct: Whether the password is the stored one.
        replacement: A new hash to store, if the stored one is weaker than today's policy.
    """

    correct: bool
    replacement: str | None = None


def password_fits(password: str) -> bool:
    """Say whether a presented password is short enough to be looked at.

    Nothing is truncated: what is longer than 256 characters or 1,024 bytes is refused as a whole.
    """
    if len(password) > MAX_PASSWORD_CHARACTERS:
        return False
    return len(password.encode("utf-8", "surrogatepass")) <= MAX_PASSWORD_BYTES


def check_new_password(password: str, *, username: str = "") -> None:
    """Apply the policy for new passwords: a length, nothing that is tried first, no composition.

    Args:
        password: As chosen.
        username: Whose.

    Raises:
        WeakPassword: It is shorter than 15 characters or too long, holds a NUL, is among the common
            ones, repeats itself, or holds the user's or this service's name.
    """
    if len(password) < MIN_NEW_PASSWORD_CHARACTERS:
        raise WeakPassword(f"a password has at least {MIN_NEW_PASSWORD_CHARACTERS} characters")
    if not password_fits(password):
        raise WeakPassword(
            f"a password has at most {MAX_PASSWORD_CHARACTERS} characters"
            f" and {MAX_PASSWORD_BYTES} bytes"
        )
    if "\0" in password:
        raise WeakPassword("a password holds no NUL character")
    folded = password.casefold()
    if folded in _COMMON or _REPEATED.fullmatch(folded):
        raise WeakPassword("this password is among the first that are tried")
    name = username.casefold()
    if _SERVICE_NAME in folded or (len(name) >= _NAME_CHARACTERS and name in folded):
        raise WeakPassword("a password holds neither the user's name nor that of this service")


def require_libpass() -> None:
    """Check that ``passlib`` is what we think it is.

    Two distributions install a package of that name: the abandoned original, whose bcrypt is
    broken, and libpass, its maintained fork. Side by side they overwrite each other's files.

    Raises:
        ConfigurationError: libpass is missing or passlib is installed.
    """
    for name, wanted in (("libpass", True), ("passlib", False)):
        try:
            metadata.distribution(name)
        except metadata.PackageNotFoundError:
            found = False
        else:
            found = True
        if found is not wanted:
            raise ConfigurationError(
                "the package libpass must be installed and passlib must not: both own `passlib`"
            )


class PasswordHasher:
    """Hashes and verifies passwords exactly as received (no Unicode normalisation, no truncation).

    At most ``threads`` hashes run at once and at most ``queue`` callers wait, none of them longer
    than ``wait_seconds``; everyone else gets Overloaded at once. A permit is given back when its
    hash ends and not when its caller goes, because a thread cannot be stopped: a client that hangs
    up must not make room for another hash while its own still runs.

    Args:
        threads: Hashes at the same time, at least 1.
        queue: Callers that may wait, 0 or more.
        wait_seconds: How long each may wait.
        metrics: Where hashes are counted.
        parameters: Today's cost; tests whose subject is something else take less.
    """

    def __init__(
        self,
        *,
        threads: int,
        queue: int,
        wait_seconds: float,
        metrics: Metrics,
        parameters: HashParameters = POLICY,
    ) -> None:
        require_libpass()
        self._metrics = metrics
        self._context = CryptContext(
            schemes=["argon2"],
            argon2__type="ID",
            argon2__memory_cost=parameters.memory_kib,
            argon2__time_cost=parameters.passes,
            argon2__parallelism=parameters.lanes,
        )
        # Checked when there is no user, so that a name that does not exist costs the same.
        self._dummy: str = self._context.hash(secrets.token_urlsafe(24))
        self._executor = ThreadPoolExecutor(
            threads, thread_name_prefix="password-hash", initializer=_step_back
        )
        self._permits = asyncio.Semaphore(threads)
        self._queue = queue
        self._capacity = threads + queue
        self._waiting = 0
        self._wait_seconds = wait_seconds

    @property
    def capacity(self) -> int:
        """How many may be inside, running or waiting."""
        return self._capacity

    def close(self) -> None:
        """Let the running hashes end and start no more."""
        self._executor.shutdown(wait=True, cancel_futures=True)

    async def hash(self, password: str) -> str:
        """Hash a new password, whose policy the caller checked.

        Raises:
            Overloaded: The queue is full or the wait was too long.
        """
        return await self._run(lambda: str(self._context.hash(password)))

    async def verify(self, password: str, stored: str | None) -> Verdict:
        """Compare ``password`` with a stored hash; one hash is computed whatever the arguments are.

        Args:
            password: As presented, within `password_fits`.
            stored: The stored hash; None if there is no such user. What cannot be read, or asks for
                more than the ceiling, is never correct.

        Raises:
            Overloaded: The queue is full or the wait was too long; nothing is said about the
                password.
        """
        acceptable = stored if stored is not None and _within_ceiling(stored) else None
        return await self._run(lambda: self._verify(password, acceptable))

    def _verify(self, password: str, stored: str | None) -> Verdict:
        try:
            correct, replacement = self._context.verify_and_update(password, stored or self._dummy)
        except ValueError:
            # The library's own errors (UnknownHashError, PasswordSizeError) are ValueErrors, and so
            # is what a lone surrogate raises.
            return Verdict(correct=False)
        if stored is None:
            return Verdict(correct=False)
        return Verdict(correct=bool(correct), replacement=replacement)

    async def _run(self, work: Callable[[], _Result]) -> _Result:
        await self._admit()
        loop = asyncio.get_running_loop()

        def give_back(_: Future[_Result]) -> None:
            with contextlib.suppress(RuntimeError):  # the loop ended before the hash did
                loop.call_soon_threadsafe(self._permits.release)

        future = self._executor.submit(self._timed, work)
        future.add_done_callback(give_back)
        return await asyncio.wrap_future(future)

    async def _admit(self) -> None:
        """Take a permit or raise Overloaded."""
        self._metrics.password_hash_queue_depth.observe(self._waiting)
        if self._permits.locked() and self._waiting >= self._queue:
            self._metrics.password_hash_rejected.inc()
            raise Overloaded
        self._waiting += 1
        begin = time.perf_counter()
        try:
            async with asyncio.timeout(self._wait_seconds):
                await self._permits.acquire()
            self._metrics.password_hash_wait.observe(time.perf_counter() - begin)
        except TimeoutError:
            self._metrics.password_hash_rejected.inc()
            raise Overloaded from None
        finally:
            self._waiting -= 1

    def _timed(self, work: Callable[[], _Result]) -> _Result:
        begin = time.perf_counter()
        try:
            return work()
        finally:
            self._metrics.password_hash.observe(time.perf_counter() - begin)


def _step_back() -> None:
    """Let this thread run when the others of the process do not want the core.

    With as many hashes as cores, a request that needs a tenth of a millisecond would wait for its
    turn among them.
    """
    os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), _NICENESS)


def _within_ceiling(stored: str) -> bool:
    match = _STORED.fullmatch(stored)
    if match is None:
        return False
    memory_kib, passes, lanes = (int(number) for number in match.groups())
    return memory_kib <= CEILING.memory_kib and passes <= CEILING.passes and lanes <= CEILING.lanes
