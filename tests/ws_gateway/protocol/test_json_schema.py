"""Messages as JSON Schema."""

from __future__ import annotations

from typing import Annotated

import pytest
from msgspec import Meta, Raw, Struct

from ws_gateway.protocol.json_schema import parts, reference, schemas


class Inner(Struct):
    """What is inside."""

    text: str


class Outer(Struct):
    """What is around it.

    Attributes:
        number: How many.
        inner: The one.
    """

    number: Annotated[int, Meta(ge=0, le=9)]
    data: Raw
    plain: int = 0
    flag: bool = False
    inner: Inner | None = None
    many: tuple[Inner, ...] = ()
    named: dict[str, Outer] | None = None


INNER = {"$ref": "#/components/schemas/Inner"}
OUTER = {"$ref": "#/components/schemas/Outer"}


def test_a_message_is_described_with_all_that_occurs_in_it() -> None:
    """Types, bounds, words; what may be left out is not required; a circle is walked once."""
    found = schemas(Outer)

    assert list(found) == ["Inner", "Outer"]
    assert found["Outer"] == {
        "type": "object",
        "description": "What is around it.",
        "properties": {
            "number": {"type": "integer", "minimum": 0, "maximum": 9, "description": "How many."},
            "data": {"description": "Any JSON value."},
            "plain": {"type": "integer"},
            "flag": {"type": "boolean"},
            "inner": {"allOf": [INNER], "description": "The one."},
            "many": {"type": "array", "items": INNER},
            "named": {"type": "object", "additionalProperties": OUTER},
        },
        "required": ["number", "data"],
    }
    assert found["Inner"]["properties"] == {"text": {"type": "string"}}


def test_the_parts_are_the_fields_that_hold_one_message() -> None:
    """Not those with many, and not values."""
    assert parts(Outer) == {"inner": Inner}
    assert reference(Inner) == INNER


def test_what_no_message_has_is_refused() -> None:
    """Rather than described as anything."""

    class Strange(Struct):
        """Has a field of a new kind."""

        number: float

    with pytest.raises(TypeError, match="Float"):
        schemas(Strange)
    with pytest.raises(TypeError, match="no message"):
        schemas(int)  # type: ignore[arg-type]
