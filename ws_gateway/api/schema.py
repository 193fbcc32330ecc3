"""The server API in OpenAPI: written from the very types that requests are read into."""

from __future__ import annotations

from typing import Any

from msgspec import inspect

from ws_gateway.api.messages import REQUESTS, RESULTS, UNWRAPPED
from ws_gateway.protocol.messages import EmptyResult, Error

_Schema = dict[str, Any]


def request_body(method: str) -> _Schema:
    """Describe the body of a method's request."""
    return {"required": True, "content": {"application/json": {"schema": _of(REQUESTS[method])}}}


def responses(method: str) -> dict[int | str, _Schema]:
    """Describe the answers to a method."""
    result = _of(RESULTS.get(method, EmptyResult))
    failed = {
        "type": "object",
        "properties": {"error": _of(Error)},
        "required": ["error"],
    }
    succeeded = result
    if method not in UNWRAPPED:
        succeeded = {"type": "object", "properties": {"result": result}, "required": ["result"]}
    return {
        200: {
            "description": "The result, or why there is none",
            "content": {"application/json": {"schema": {"anyOf": [succeeded, failed]}}},
        },
        400: {
            "description": "The body cannot be read",
            "content": {"application/json": {"schema": failed}},
        },
        413: {
            "description": "The body is too long",
            "content": {"application/json": {"schema": failed}},
        },
    }


def described(answer: type) -> _Schema:
    """Describe a type as the content of an answer."""
    return {"content": {"application/json": {"schema": _of(answer)}}}


def _of(described_type: object) -> _Schema:
    return _describe(inspect.type_info(described_type))


# msgspec writes JSON Schema too, but cannot where a payload has a default.
def _describe(kind: inspect.Type) -> _Schema:
    """Write the schema of a type, what it refers to included; none of ours refers to itself."""
    match kind:
        case inspect.StructType(cls=cls, fields=fields):
            first, _, _ = (cls.__doc__ or "").partition("\n")
            return {
                "type": "object",
                "description": first,
                "properties": {field.encode_name: _describe(field.type) for field in fields},
                "required": [field.encode_name for field in fields if field.required],
            }
        case inspect.UnionType(types=types):
            # Only "or nothing" occurs, and nothing is left out where it stands for a field.
            return {"anyOf": [_describe(each) for each in types]}
        case inspect.ListType(item_type=item) | inspect.VarTupleType(item_type=item):
            return {"type": "array", "items": _describe(item)}
        case inspect.DictType(value_type=value):
            return {"type": "object", "additionalProperties": _describe(value)}
        case inspect.IntType(ge=least, le=most):
            bounds = {"minimum": least, "maximum": most}
            return {"type": "integer"} | {k: v for k, v in bounds.items() if v is not None}
        case inspect.StrType():
            return {"type": "string"}
        case inspect.BoolType():
            return {"type": "boolean"}
        case inspect.FloatType():
            return {"type": "number"}
        case inspect.NoneType():
            return {"type": "null"}
        case inspect.RawType() | inspect.AnyType():
            return {}  # any JSON
        case _:
            raise TypeError(f"no schema for {kind}")
