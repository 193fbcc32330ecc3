"""The requests of the server API, as JSON has them."""

from __future__ import annotations

import json
from typing import Any

import pytest

from ws_gateway.api.messages import (
    METHODS,
    REQUESTS,
    RESULTS,
    BroadcastRequest,
    Override,
    PublishRequest,
    SubscribeRequest,
    decode,
)

WRONG: dict[str, list[dict[str, Any]]] = {
    "publish": [
        {"channel": 1},
        {"channel": None},
        {"tags": {"a": 1}},
        {"tags": ["a"]},
        {"skip_history": "yes"},
        {"idempotency_key": 1},
        {"delta": 1},
        {"version": -1},
        {"version": 1.5},
        {"version_epoch": 1},
        {"b64data": 1},
    ],
    "broadcast": [{"channels": "a"}, {"channels": [1]}, {"channels": {"a": 1}}],
    "subscribe": [
        {"user": 1},
        {"expire_at": "soon"},
        {"recover_since": 1},
        {"recover_since": {"offset": -1}},
        {"override": {"presence": True}},
        {"override": {"presence": {"value": 1}}},
    ],
    "unsubscribe": [{"user": []}, {"channel": 1}],
    "disconnect": [
        {"whitelist": "a"},
        {"disconnect": 3000},
        {"disconnect": {"code": "a"}},
        {"disconnect": {"code": 5000}},
        {"disconnect": {"code": 3000, "reason": 1}},
    ],
    "refresh": [{"expired": 1}, {"expire_at": "x"}, {"expire_at": 2**64}],
    "presence": [{"channel": []}],
    "presence_stats": [{"channel": {}}],
    "history": [{"limit": "1"}, {"limit": 2**40}, {"since": []}, {"reverse": "no"}],
    "history_remove": [{"channel": True}],
    "channels": [{"pattern": 1}],
    "info": [],
    "batch": [{"commands": {}}, {"commands": [1]}, {"commands": [{"publish": 1}]}, {"parallel": 1}],
}


@pytest.mark.parametrize("method", REQUESTS)
def test_fields_that_are_not_known_are_passed_over(method: str) -> None:
    """Clients of a newer protocol send some."""
    assert decode(method, b'{"new": {"a": [1]}}') == REQUESTS[method]()


@pytest.mark.parametrize(
    ("method", "wrong"),
    [(method, json.dumps(one)) for method, cases in WRONG.items() for one in cases],
)
def test_a_field_of_the_wrong_type_is_refused(method: str, wrong: str) -> None:
    """Rather than guessed at."""
    with pytest.raises(ValueError, match=r"."):
        decode(method, wrong.encode())


@pytest.mark.parametrize("method", REQUESTS)
@pytest.mark.parametrize(
    "body", [b"", b"[]", b"1", b"null", b"{", b"{}x", b'{"a":\xff}', b"[" * 100_000], ids=range(8)
)
def test_a_body_that_is_no_object_is_refused(method: str, body: bytes) -> None:
    """Whatever it is."""
    with pytest.raises(ValueError, match=r"."):
        decode(method, body)


def test_every_method_has_its_own_request() -> None:
    """Both ways; and no result belongs to none."""
    assert {METHODS[request]: request for request in REQUESTS.values()} == REQUESTS
    assert RESULTS.keys() <= REQUESTS.keys()


def test_a_payload_stays_as_it_came() -> None:
    """Blanks, order and numbers included."""
    request = decode("publish", b'{"channel":"a","data":{"b" : 1.0,"a":[1e2]}}')

    assert isinstance(request, PublishRequest)
    assert bytes(request.data) == b'{"b" : 1.0,"a":[1e2]}'


def test_a_broadcast_is_the_same_for_each_channel() -> None:
    """No field is lost on the way."""
    broadcast = BroadcastRequest(
        channels=("a", "b"),
        b64data="MQ==",
        skip_history=True,
        tags={"t": "1"},
        idempotency_key="k",
        delta=True,
        version=2,
        version_epoch="e",
    )

    one = broadcast.to("b")

    assert one.channel == "b"
    shared = set(PublishRequest.__struct_fields__) - {"channel"}
    assert shared == set(BroadcastRequest.__struct_fields__) - {"channels"}
    assert all(getattr(one, field) == getattr(broadcast, field) for field in shared)


def test_an_override_says_only_what_is_chosen() -> None:
    """Off is a choice too."""
    request = decode("subscribe", b'{"override": {"presence": {"value": false}}}')

    assert isinstance(request, SubscribeRequest)
    assert request.override is not None
    assert request.override.chosen() == (("presence", False),)
    assert Override().chosen() == ()
