"""The messages' shapes as JSON Schema, read from their types and docstrings.

msgspec's own generator gives up on payloads (``Raw``), whose shape nobody but sender and receiver
knows. Only words of draft 07 are used, on which AsyncAPI builds.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from msgspec import Struct, inspect

from ws_gateway.docstrings import attributes, summary

__all__ = ["Schema", "parts", "reference", "schemas"]

Schema = dict[str, Any]
"""A piece of a document, as JSON has it."""


def reference(message: type[Struct]) -> Schema:
    """Point to the schema of a message, where an AsyncAPI or OpenAPI document has it."""
    return {"$ref": f"#/components/schemas/{message.__name__}"}


def parts(message: type[Struct]) -> dict[str, type[Struct]]:
    """List the fields that hold one message, and which."""
    found = {}
    for field in _described(message).fields:
        held = _present(field.type)
        if isinstance(held, inspect.StructType):
            found[field.name] = held.cls
    return found


def schemas(*messages: type[Struct]) -> dict[str, Schema]:
    """Describe messages, and all that occur in them, by their names."""
    found: dict[str, Schema] = {}
    waiting = list(messages)
    while waiting:
        message = waiting.pop()
        if message.__name__ not in found:
            described = _described(message)
            found[message.__name__] = _object(described)
            for field in described.fields:
                waiting += _held(field.type)
    return dict(sorted(found.items()))


def _described(message: type[Struct]) -> inspect.StructType:
    described = inspect.type_info(message)
    if not isinstance(described, inspect.StructType):
        raise TypeError(f"no message: {message}")
    return described


def _object(message: inspect.StructType) -> Schema:
    told = attributes(message.cls)
    properties: Schema = {}
    for field in message.fields:
        schema = _value(field.type)
        if field.name in told:
            # Draft 07 overlooks what stands beside a reference.
            schema = {"allOf": [schema]} if "$ref" in schema else schema
            schema["description"] = told[field.name]
        properties[field.encode_name] = schema
    required = [field.encode_name for field in message.fields if field.required]
    return {
        "type": "object",
        "description": summary(message.cls),
        "properties": properties,
        **({"required": required} if required else {}),
    }


def _present(kind: inspect.Type) -> inspect.Type:
    """Overlook "or None", by which a message says that a field may be absent."""
    if not isinstance(kind, inspect.UnionType):
        return kind
    (present,) = (one for one in kind.types if not isinstance(one, inspect.NoneType))
    return present


def _value(kind: inspect.Type) -> Schema:
    match _present(kind):
        case inspect.StructType(cls=message):
            return reference(message)
        case inspect.VarTupleType(item_type=item):
            return {"type": "array", "items": _value(item)}
        case inspect.DictType(value_type=value):
            return {"type": "object", "additionalProperties": _value(value)}
        case inspect.IntType(ge=low, le=high):
            bounds = {"minimum": low, "maximum": high}
            given = {word: bound for word, bound in bounds.items() if bound is not None}
            return {"type": "integer", **given}
        case inspect.StrType():
            return {"type": "string"}
        case inspect.BoolType():
            return {"type": "boolean"}
        case inspect.RawType():
            return {"description": "Any JSON value."}
        case other:
            raise TypeError(f"no message has had such a field: {other}")


def _held(kind: inspect.Type) -> Iterator[type[Struct]]:
    """List the messages in a field."""
    match _present(kind):
        case inspect.StructType(cls=message):
            yield message
        case inspect.VarTupleType(item_type=item):
            yield from _held(item)
        case inspect.DictType(value_type=value):
            yield from _held(value)
        case _:
            return
