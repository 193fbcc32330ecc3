"""An issuer's keys: which are taken, when they are fetched, what happens if they cannot be."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import httpx2
import pytest
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from jose import jwk

from ws_gateway.exceptions import KeysUnavailable
from ws_gateway.jwks import JWKSCache, fetch_document, parse_key_set

URL = "https://issuer.example/jwks.json"

EC_KEY = ec.generate_private_key(ec.SECP256R1())
RSA_KEY = rsa.generate_private_key(65537, 2048)
WEAK_RSA_KEY = rsa.generate_private_key(65537, 1024)  # noqa: S505  # refusing it is the subject


def public(key: Any, algorithm: str, **members: Any) -> dict[str, Any]:  # noqa: ANN401
    """Return a public JWK; a member given as None is left out."""
    built = jwk.construct(key, algorithm).public_key().to_dict()
    built |= {"kid": algorithm, "use": "sig", **members}
    return {name: value for name, value in built.items() if value is not None}


EC_JWK = public(EC_KEY, "ES256")
RSA_JWK = public(RSA_KEY, "RS256")


def document(*keys: object) -> bytes:
    """Return a JWK Set."""
    return json.dumps({"keys": keys}).encode()


class Clock:
    """A monotonic clock that is moved by hand."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        """Return the time it was moved to."""
        return self.now


class Publisher:
    """An issuer that counts how often it is asked."""

    def __init__(self, *keys: object) -> None:
        self.document = document(*keys)
        self.error: Exception | None = None
        self.gate: asyncio.Event | None = None
        self.fetches = 0

    async def __call__(self, url: str) -> bytes:
        """Answer, once the gate is open."""
        assert url == URL
        self.fetches += 1
        if self.gate is not None:
            await self.gate.wait()
        if self.error is not None:
            raise self.error
        return self.document


@pytest.fixture
def clock() -> Clock:
    """A clock that stands still."""
    return Clock()


@pytest.fixture
def publisher() -> Publisher:
    """An issuer with two keys."""
    return Publisher(EC_JWK, RSA_JWK)


@pytest.fixture
def cache(publisher: Publisher, clock: Clock) -> JWKSCache:
    """Its keys, not yet fetched."""
    return JWKSCache(URL, fetch=publisher, monotonic=clock)


async def settle() -> None:
    """Let the tasks that are ready run to their next wait."""
    for _ in range(5):
        await asyncio.sleep(0)


class TestParseKeySet:
    """RFC 7517 sections 4 and 5."""

    def test_signature_keys_are_taken(self) -> None:
        """One algorithm per key, found by kid."""
        keys = parse_key_set(document(EC_JWK, RSA_JWK))

        assert {kid: key.algorithm for kid, key in keys.items()} == {
            "ES256": "ES256",
            "RS256": "RS256",
        }

    @pytest.mark.parametrize("member", ["use", "alg"])
    @pytest.mark.parametrize("entry", [EC_JWK, RSA_JWK])
    def test_optional_members_may_be_absent(self, entry: dict[str, Any], member: str) -> None:
        """Then the key's type names the algorithm."""
        left = {name: value for name, value in entry.items() if name != member}

        assert len(parse_key_set(document(left))) == 1

    @pytest.mark.parametrize(
        "entry",
        [
            None,
            "text",
            {},
            EC_JWK | {"use": "enc"},
            EC_JWK | {"use": None},
            EC_JWK | {"key_ops": ["sign"]},
            EC_JWK | {"key_ops": "verify"},
            EC_JWK | {"alg": "RS256"},
            EC_JWK | {"alg": "ES384"},
            EC_JWK | {"alg": ["ES256"]},
            RSA_JWK | {"alg": "HS256"},
            RSA_JWK | {"alg": "PS256"},
            EC_JWK | {"kid": ""},
            EC_JWK | {"kid": 7},
            EC_JWK | {"kid": "../../etc/passwd"},
            EC_JWK | {"kid": "k" * 65},
            {name: value for name, value in EC_JWK.items() if name != "kid"},
            EC_JWK | {"kty": "oct", "k": "c2VjcmV0"},
            EC_JWK | {"kty": ["EC"]},
            EC_JWK | {"crv": "P-384"},
            EC_JWK | {"x": EC_JWK["y"]},
            EC_JWK | {"x": None},
            EC_JWK | {"x": EC_JWK["x"] + "="},
            EC_JWK | {"d": EC_JWK["x"]},
            RSA_JWK | {"e": "AQ"},
            RSA_JWK | {"e": "Ag"},
            RSA_JWK | {"e": "AQAAAAAAAAAAAAAAAAE"},
            RSA_JWK | {"n": "AQAB"},
            RSA_JWK | {"n": "A"},
            public(ec.generate_private_key(ec.SECP384R1()), "ES256"),
            public(WEAK_RSA_KEY, "RS256"),
        ],
    )
    def test_key_of_no_use_is_passed_over(self, entry: object) -> None:
        """Other uses, algorithms, curves, weak, private or broken keys; the good one stays."""
        keys = parse_key_set(document(entry, EC_JWK | {"kid": "good"}))

        assert list(keys) == ["good"]

    def test_ambiguous_kid_is_passed_over(self) -> None:
        """Two keys under one name would leave the choice to somebody."""
        assert not parse_key_set(document(EC_JWK, RSA_JWK | {"kid": "ES256"}))

    def test_unchanged_key_stays_the_same_object(self) -> None:
        """It is not built again, and judgements made with it stay good."""
        before = parse_key_set(document(EC_JWK, RSA_JWK))
        changed = public(ec.generate_private_key(ec.SECP256R1()), "ES256")

        after = parse_key_set(document(changed, RSA_JWK), before)

        assert after["RS256"] is before["RS256"]
        assert after["ES256"] is not before["ES256"]

    @pytest.mark.parametrize(
        "text",
        [
            b"",
            b"[]",
            b"{}",
            b'{"keys": {}}',
            b"\xff",
            b'{"keys": []}' + b" " * 65_536,
            document(*[EC_JWK] * 65),
        ],
    )
    def test_what_is_no_key_set_is_refused(self, text: bytes) -> None:
        """Wrong shape, too long, too many keys."""
        with pytest.raises(ValueError, match=r"."):
            parse_key_set(text)


class TestFind:
    """Lookup by kid only, and the fetches it causes."""

    async def test_first_lookup_fetches_once(self, cache: JWKSCache, publisher: Publisher) -> None:
        """Nothing is fetched before it is needed."""
        assert (publisher.fetches, cache.loaded) == (0, False)

        key = await cache.find("ES256")

        assert key is not None
        assert await cache.find("RS256") is not None
        assert (publisher.fetches, cache.loaded) == (1, True)

    async def test_known_key_is_found_without_suspending(self, cache: JWKSCache) -> None:
        """The lookup may be driven outside a task."""
        await cache.refresh()
        lookup = cache.find("ES256")

        with pytest.raises(StopIteration) as done:
            lookup.send(None)

        assert done.value.value is not None

    async def test_waiters_share_one_fetch(self, cache: JWKSCache, publisher: Publisher) -> None:
        """Single flight."""
        publisher.gate = asyncio.Event()
        waiters = [asyncio.create_task(cache.find("ES256")) for _ in range(50)]
        await settle()
        publisher.gate.set()

        found = await asyncio.gather(*waiters)

        assert all(found)
        assert publisher.fetches == 1

    async def test_cancelled_waiter_leaves_the_others_alone(
        self, cache: JWKSCache, publisher: Publisher
    ) -> None:
        """The fetch is nobody's own."""
        publisher.gate = asyncio.Event()
        first, second = (asyncio.create_task(cache.find("ES256")) for _ in range(2))
        await settle()

        first.cancel()
        await settle()
        publisher.gate.set()

        assert await second is not None
        assert first.cancelled()
        assert publisher.fetches == 1

    async def test_unknown_kids_cause_one_fetch_per_cooldown(
        self, cache: JWKSCache, publisher: Publisher, clock: Clock
    ) -> None:
        """J5: a flood of random kids does not reach the issuer."""
        await cache.refresh()
        clock.now += 10

        for number in range(1000):
            assert await cache.find(f"random-{number}") is None
            clock.now += 0.005

        assert publisher.fetches == 2

    async def test_new_key_is_found_after_the_cooldown(
        self, cache: JWKSCache, publisher: Publisher, clock: Clock
    ) -> None:
        """An unknown kid is the sign of a rotation."""
        await cache.refresh()
        publisher.document = document(EC_JWK | {"kid": "next"})

        assert await cache.find("next") is None
        clock.now += 10
        assert await cache.find("next") is not None

    async def test_removed_key_is_gone_after_a_good_fetch(
        self, cache: JWKSCache, publisher: Publisher
    ) -> None:
        """J23: what is not published does not verify."""
        await cache.refresh()
        publisher.document = document(RSA_JWK)

        await cache.refresh()

        assert cache.cached("ES256") is None
        assert await cache.find("ES256") is None

    async def test_empty_set_is_believed(self, cache: JWKSCache, publisher: Publisher) -> None:
        """An issuer that publishes no key vouches for no token."""
        await cache.refresh()
        publisher.document = document()

        assert await cache.refresh()
        assert await cache.find("ES256") is None


class TestOldSet:
    """Refreshing in the background."""

    async def test_old_set_answers_at_once_and_is_fetched_behind(
        self, cache: JWKSCache, publisher: Publisher, clock: Clock
    ) -> None:
        """No token waits for it."""
        await cache.refresh()
        publisher.document = document(RSA_JWK)
        clock.now += 300

        assert cache.cached("ES256") is not None
        await settle()

        assert publisher.fetches == 2
        assert cache.cached("ES256") is None

    async def test_young_set_is_left_alone(
        self, cache: JWKSCache, publisher: Publisher, clock: Clock
    ) -> None:
        """Lookups alone cost the issuer nothing."""
        await cache.refresh()
        clock.now += 299

        for _ in range(100):
            assert cache.cached("ES256") is not None
        await settle()

        assert publisher.fetches == 1


class TestFailure:
    """The issuer is away or answers nonsense."""

    @pytest.fixture
    async def broken(self, cache: JWKSCache, publisher: Publisher, clock: Clock) -> JWKSCache:
        """Keys that were fetched once, when the issuer was still there."""
        await cache.refresh()
        publisher.error = OSError("away")
        clock.now += 300
        return cache

    async def test_never_fetched_means_unavailable(
        self, cache: JWKSCache, publisher: Publisher
    ) -> None:
        """Nothing is said about the token."""
        publisher.error = OSError("away")

        with pytest.raises(KeysUnavailable):
            await cache.find("ES256")

        assert not cache.loaded

    async def test_known_keys_stay(self, broken: JWKSCache) -> None:
        """Signed tokens are good without their issuer."""
        assert not await broken.refresh()

        assert await broken.find("ES256") is not None

    async def test_unknown_kid_is_unavailable_then(self, broken: JWKSCache) -> None:
        """It may be a new key, which cannot be known now."""
        with pytest.raises(KeysUnavailable):
            await broken.find("next")

    async def test_nonsense_is_a_failure(self, broken: JWKSCache, publisher: Publisher) -> None:
        """A page of an error, a nest of brackets."""
        publisher.error = None
        for text in (b"<html>", b"[" * 60_000, b"\xff"):
            publisher.document = text

            assert not await broken.refresh()
            assert broken.cached("ES256") is not None

    async def test_failed_fetch_is_repeated_soon_but_not_at_once(
        self, cache: JWKSCache, publisher: Publisher, clock: Clock
    ) -> None:
        """A second, not the cooldown: an issuer that comes up late is found soon."""
        publisher.error = OSError("away")
        for _ in range(10):
            with pytest.raises(KeysUnavailable):
                await cache.find("ES256")
        assert publisher.fetches == 1

        publisher.error = None
        clock.now += 1

        assert await cache.find("ES256") is not None

    async def test_slow_issuer_is_given_up(self, publisher: Publisher, clock: Clock) -> None:
        """The deadline is the fetch's own."""
        publisher.gate = asyncio.Event()
        cache = JWKSCache(URL, fetch=publisher, monotonic=clock, timeout_seconds=0.001)

        with pytest.raises(KeysUnavailable):
            await cache.find("ES256")

    async def test_outcome_is_reported(self, publisher: Publisher, clock: Clock) -> None:
        """For metrics."""
        outcomes: list[bool] = []
        cache = JWKSCache(URL, fetch=publisher, monotonic=clock, on_fetch=outcomes.append)
        await cache.refresh()
        publisher.error = OSError("away")
        await cache.refresh()

        assert outcomes == [True, False]

    async def test_log_names_the_kind_of_error_only(
        self, cache: JWKSCache, publisher: Publisher, caplog: pytest.LogCaptureFixture
    ) -> None:
        """A library's words may hold anything."""
        publisher.error = OSError("secret words")
        await cache.refresh()

        assert [record.message for record in caplog.records] == ["jwks_fetch_failed"]
        assert "secret words" not in str(caplog.records[0].__dict__)


class TestClose:
    """The end of the process."""

    async def test_closing_ends_the_fetch_and_its_waiters(
        self, cache: JWKSCache, publisher: Publisher
    ) -> None:
        """No task is left behind, nobody hangs."""
        publisher.gate = asyncio.Event()
        waiter = asyncio.create_task(cache.find("ES256"))
        await settle()

        await cache.aclose()

        with pytest.raises(KeysUnavailable):
            await waiter
        assert len(asyncio.all_tasks()) == 1

    async def test_closing_a_fetch_that_has_not_begun(self, cache: JWKSCache) -> None:
        """Its task never runs a line."""
        waiter = asyncio.create_task(cache.find("ES256"))
        await asyncio.sleep(0)

        await cache.aclose()

        with pytest.raises(KeysUnavailable):
            await waiter

    async def test_closed_cache_fetches_no_more(
        self, cache: JWKSCache, publisher: Publisher
    ) -> None:
        """Known keys still verify."""
        await cache.refresh()
        await cache.aclose()

        assert await cache.find("ES256") is not None
        assert await cache.find("next") is None
        assert publisher.fetches == 1


class TestFetchDocument:
    """The default fetch, over a loopback connection."""

    @staticmethod
    async def serve(answer: bytes) -> tuple[asyncio.Server, str]:
        """Answer every request with these bytes."""

        async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            await reader.readuntil(b"\r\n\r\n")
            writer.write(answer)
            await writer.drain()
            writer.close()

        server = await asyncio.start_server(handle, "127.0.0.1", 0)
        port = server.sockets[0].getsockname()[1]
        return server, f"http://127.0.0.1:{port}/jwks.json"

    @pytest.fixture(autouse=True)
    def _proxy(self, monkeypatch: pytest.MonkeyPatch) -> None:
        # Nothing listens on the discard port: a fetch that asked the proxy would fail.
        monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:9")

    async def fetch(self, answer: bytes) -> bytes:
        """Fetch from a server that gives this answer."""
        server, url = await self.serve(answer)
        async with server:
            return await fetch_document(url)

    async def test_document_is_returned(self) -> None:
        """Without asking the proxy for this machine's own ports."""
        body = document(EC_JWK)
        head = f"HTTP/1.1 200 OK\r\nContent-Length: {len(body)}\r\n\r\n".encode()

        assert await self.fetch(head + body) == body

    @pytest.mark.parametrize(
        "answer",
        [
            b"HTTP/1.1 302 Found\r\nLocation: http://127.0.0.1:9/\r\nContent-Length: 0\r\n\r\n",
            b"HTTP/1.1 500 No\r\nContent-Length: 0\r\n\r\n",
            b"nonsense\r\n\r\n",
        ],
    )
    async def test_other_answers_are_errors(self, answer: bytes) -> None:
        """Redirects are not followed: the configured address is the trusted one."""
        with pytest.raises(httpx2.HTTPError):
            await self.fetch(answer)

    async def test_size_is_bounded_while_reading(self) -> None:
        """Whatever length the answer claims."""
        with pytest.raises(ValueError, match="too large"):
            await self.fetch(b"HTTP/1.1 200 OK\r\n\r\n" + b" " * 70_000)
