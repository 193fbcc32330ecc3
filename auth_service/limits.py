"""Limits of attempts, shared by every process that uses the same database.

Rates (GCRA: N in a minute, N at once) refuse before anything is computed. Failures in a row lock:
after ``lockout_failures`` of them for one second, then twice as long each time, up to
``lockout_seconds``; before there can be a hundred of them for a day. A log-in is counted

    everywhere              rate
    address                 rate             an IPv6 network of 64 bits counts as one address
    account                 rate and lock    whether anybody has that name or not
    account and address     rate and lock

Whoever attacks an account locks the account, not its user: an address from which the user logged in
during the last 30 days is held to its own counter only. The account's failures are forgotten when a
log-in passes its lock, after a day without failure, and by an operator's order.

A refused attempt is not counted, so that it takes nothing away from others. The rows are named by
keyed hashes: names and addresses are not stored.
"""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from ipaddress import IPv6Address, ip_address
from math import ceil
from typing import Literal, TypeVar

from sqlalchemy.ext.asyncio import AsyncConnection

from auth_service.exceptions import TooManyAttempts
from auth_service.metrics import Metrics
from auth_service.sealing import SecretKeys
from auth_service.store import attempts
from auth_service.store.attempts import WINDOW_SECONDS, Charge, Standing
from auth_service.store.database import Database

#: NIST SP 800-63B allows 100 failures in a row. Locks come after the check, so as many attempts as
#: the account's rate lets through at once may still be under way.
MAX_FAILURES = 70
DAY_SECONDS = 86_400
KNOWN_SECONDS = 30 * DAY_SECONDS
# How long a process repeats a refusal without asking the database.
_REPEAT_SECONDS = 1.0
_MAX_REPEATS = 4_096
_MAX_KNOWN = 4_096
_IPV6_NETWORK_BITS = 64

_Value = TypeVar("_Value")
Kind = Literal["client", "user_code", "device"]


@dataclass(frozen=True, slots=True, kw_only=True)
class LimitRules:
    """What is allowed; attempts are per minute, 0 means any number.

    Args:
        everywhere: Log-ins altogether.
        address: Log-ins from one address.
        account: Log-ins to one account.
        client: Wrong client credentials, per client and address.
        user_code: User codes of the device flow, per address.
        device: Requests of devices for codes, per client and address.
        lockout_failures: Failures in a row after which an account is locked.
        lockout_seconds: The longest lock before the last one.
    """

    everywhere: int
    address: int
    account: int
    client: int
    user_code: int
    device: int
    lockout_failures: int
    lockout_seconds: int


@dataclass(frozen=True, slots=True)
class Attempt:
    """A log-in that was allowed to be tried.

    Args:
        account: Hash of the account's name.
        pair: Hash of account and address.
        known: Whether only `pair` counted, because the user is at home at this address.
        failed_before: Whether there are failures to forget.
    """

    account: str
    pair: str
    known: bool
    failed_before: bool


class Limits:
    """Counts attempts and refuses what is too much.

    Args:
        database: Where they are counted.
        secrets: Under which names and addresses are hashed.
        rules: What is allowed.
        metrics: Where refusals are counted.
        clock: Seconds since 1970.
    """

    def __init__(
        self,
        *,
        database: Database,
        secrets: SecretKeys,
        rules: LimitRules,
        metrics: Metrics,
        clock: Callable[[], float],
    ) -> None:
        self._database = database
        self._key = secrets.derive("limits")[0]
        self._rules = rules
        self._metrics = metrics
        self._clock = clock
        # Until when a refusal is repeated, and when it ends.
        self._repeats: dict[str, tuple[float, float]] = {}
        self._known: dict[str, float] = {}

    async def check(self, kind: Kind, *what: str) -> None:
        """Count an attempt of any kind but a log-in.

        Call it for what is guessed, that is after a failure, or before a code is looked up.

        Args:
            kind: Which rate.
            what: Of whom: an address, a client's id.

        Raises:
            TooManyAttempts: It is one too many.
            StoreUnavailable: The database does not answer.
        """
        per_minute = {
            "client": self._rules.client,
            "user_code": self._rules.user_code,
            "device": self._rules.device,
        }[kind]
        if per_minute == 0:
            return
        now = self._clock()
        key = self._hash(kind, *map(_network, what))
        self._refuse_again(kind, (key,), now)
        async with self._database.write() as connection:
            if key in await attempts.charge(
                connection, [Charge(key, WINDOW_SECONDS / per_minute)], now=now
            ):
                return
            standing = (await attempts.standings(connection, [key])).get(key)
        raise self._refusal(kind, key, _wait(standing, now), now)

    async def begin_login(self, account: str, address: str) -> Attempt:
        """Count a log-in, and see whether it may be tried.

        Args:
            account: The name's key, or whatever was typed if nobody can have such a name.
            address: Whence.

        Raises:
            TooManyAttempts: It is one too many; the answer is the same whether there is such an
                account or not, and whether the password would be right.
            StoreUnavailable: The database does not answer.
        """
        now = self._clock()
        network = _network(address)
        keys = {
            "account": self._hash("account", account),
            "account_address": self._hash("account_address", account, network),
        }
        if self._rules.everywhere:
            keys["global"] = self._hash("global")
        if self._rules.address:
            keys["address"] = self._hash("address", network)
        pair = keys["account_address"]
        self._refuse_again("repeated", list(keys.values())[1:], now)
        async with self._database.write() as connection:
            passed = await attempts.charge(connection, self._charges(keys), now=now)
            refused = [
                kind
                for kind, key in keys.items()
                if key not in passed or passed[key].locked_until > now
            ]
            known = "account" in refused and await attempts.is_known(
                connection, self._hash("known", account, network), now=now
            )
            if known:
                refused.remove("account")
            if refused:
                # Leaving by an exception takes back what was counted.
                found = await attempts.standings(connection, [keys[kind] for kind in refused])
                wait = max(_wait(found.get(keys[kind]), now) for kind in refused)
                kind = refused[0]
                # A refused account is none for those at home elsewhere: this address is told.
                told = keys[kind] if kind in {"global", "address"} else pair
                raise self._refusal(kind, told, wait, now)
        counters = [pair] if known else [pair, keys["account"]]
        return Attempt(keys["account"], pair, known, any(passed[key].failures for key in counters))

    async def failed(self, connection: AsyncConnection, attempt: Attempt) -> int:
        """Count a failure; returns for how many seconds that locks, 0 if it does not."""
        now = self._clock()
        expires_at = int(now) + DAY_SECONDS
        counted = await attempts.fail(
            connection, [attempt.account, attempt.pair], now=now, expires_at=expires_at
        )
        locks = {key: self._lock_seconds(failures) for key, failures in counted.items()}
        until = {key: ceil(now) + seconds for key, seconds in locks.items() if seconds}
        if until:
            # The longest lock is the longest memory too: both end together.
            end = max(expires_at, *until.values())
            await attempts.lock(connection, until, expires_at=end)
        return max(locks.values())

    async def succeeded(
        self, connection: AsyncConnection, attempt: Attempt, *, account: str, address: str
    ) -> None:
        """Forget the failures that this log-in passed, and remember that the user is at home here.

        Nothing is written if there is nothing to forget and the address is long known.
        """
        now = self._clock()
        if attempt.failed_before:
            keys = [attempt.pair] if attempt.known else [attempt.account, attempt.pair]
            await attempts.forgive(connection, keys)
        known = self._hash("known", account, _network(address))
        if self._known.get(known, 0.0) > now:
            return
        await attempts.remember(connection, known, now=now, expires_at=int(now) + KNOWN_SECONDS)
        _bounded(self._known, _MAX_KNOWN)
        self._known[known] = now + DAY_SECONDS

    async def clear(self, connection: AsyncConnection, account: str) -> bool:
        """Unlock an account for addresses that are not known; says whether anything was counted.

        Args:
            connection: Inside a transaction.
            account: The name's key.
        """
        return await attempts.remove(connection, [self._hash("account", account)])

    def _charges(self, keys: Mapping[str, str]) -> list[Charge]:
        per_minute = {
            "global": self._rules.everywhere,
            "address": self._rules.address,
            "account": self._rules.account,
            "account_address": self._rules.account,
        }
        return [
            Charge(key, WINDOW_SECONDS / per_minute[kind] if per_minute[kind] else 0.0)
            for kind, key in keys.items()
        ]

    def _lock_seconds(self, failures: int) -> int:
        if failures >= MAX_FAILURES:
            return DAY_SECONDS
        beyond = failures - self._rules.lockout_failures
        if beyond < 0:
            return 0
        # The shift is bounded so that no huge number is made on the way.
        return int(min(1 << min(beyond, 30), self._rules.lockout_seconds))

    def _refuse_again(self, kind: str, keys: Sequence[str], now: float) -> None:
        """Repeat a refusal of this very moment without asking the database."""
        for key in keys:
            if key not in self._repeats:
                continue
            until, end = self._repeats[key]
            # A clock that was set back would keep the end of that second away for as long.
            if now < until <= now + _REPEAT_SECONDS:
                self._metrics.rate_limited.labels(kind=kind).inc()
                raise TooManyAttempts(retry_after_seconds=max(1, ceil(end - now)))
            del self._repeats[key]

    def _refusal(self, kind: str, key: str, wait: float, now: float) -> TooManyAttempts:
        self._metrics.rate_limited.labels(kind=kind).inc()
        _bounded(self._repeats, _MAX_REPEATS)
        self._repeats[key] = (now + min(wait, _REPEAT_SECONDS), now + wait)
        return TooManyAttempts(retry_after_seconds=max(1, ceil(wait)))

    def _hash(self, *words: str) -> str:
        # A length before each word: no two lists of words look alike.
        text = "".join(f"{len(word)}:{word}" for word in words)
        digest = hmac.new(self._key, text.encode("utf-8", "surrogatepass"), hashlib.sha256)
        return digest.hexdigest()


def _network(address: str) -> str:
    """Return what counts as one address: of IPv6 the network that a customer is given."""
    try:
        parsed = ip_address(address)
    except ValueError:
        return address
    if isinstance(parsed, IPv6Address):
        if parsed.ipv4_mapped is not None:
            return str(parsed.ipv4_mapped)
        return f"{int(parsed) >> _IPV6_NETWORK_BITS:x}/64"
    return str(parsed)


def _wait(standing: Standing | None, now: float) -> float:
    """Return for how many seconds a key is refused."""
    if standing is None:
        return 0.0
    return max(standing.arrival, standing.locked_until) - now


def _bounded(kept: dict[str, _Value], size: int) -> None:
    """Make room for one more entry by forgetting the oldest."""
    while len(kept) >= size:
        del kept[next(iter(kept))]
