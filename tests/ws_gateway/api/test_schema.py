"""The server API in OpenAPI."""

from __future__ import annotations

from typing import Any

import pytest

from ws_gateway.api import schema
from ws_gateway.api.messages import REQUESTS
from ws_gateway.descriptions import ConnectionDetails


@pytest.mark.parametrize("method", REQUESTS)
def test_every_field_of_a_request_is_there(method: str) -> None:
    """With its type, and nothing that is required: what is missing has an error of its own."""
    described = schema.request_body(method)["content"]["application/json"]["schema"]

    assert described["properties"].keys() == set(REQUESTS[method].__struct_fields__)
    assert described["required"] == []


def test_nothing_refers_to_elsewhere() -> None:
    """Definitions stand where they are used."""
    for method in REQUESTS:
        assert "$ref" not in str(schema.request_body(method)) + str(schema.responses(method))


def test_the_result_of_a_batch_stands_alone() -> None:
    """That of the others is under ``result``."""

    def succeeded(method: str) -> Any:  # noqa: ANN401
        answer = schema.responses(method)[200]["content"]["application/json"]["schema"]
        return answer["anyOf"][0]["properties"].keys()

    assert succeeded("batch") == {"replies"}
    assert succeeded("publish") == {"result"}


def test_types_are_described() -> None:
    """Numbers with bounds, lists, what may be missing, and payloads, which may be anything."""
    publish = schema.request_body("publish")["content"]["application/json"]["schema"]["properties"]
    connection = schema.described(ConnectionDetails)["content"]["application/json"]["schema"]

    assert publish["data"] == {}
    assert publish["version"] == {"type": "integer", "minimum": 0}
    assert publish["tags"]["anyOf"][0]["additionalProperties"] == {"type": "string"}
    assert connection["properties"]["claims"]["anyOf"][0]["properties"]["scopes"] == {
        "type": "array",
        "items": {"type": "string"},
    }
    with pytest.raises(TypeError, match="no schema"):
        schema.described(set)
