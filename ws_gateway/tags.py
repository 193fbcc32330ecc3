"""Which publications a subscriber wants, by their tags (protocol section 10); pure functions.

A filter arrives as a tree of nodes, is checked once, and becomes one function of a publication's
tags.
"""

from __future__ import annotations

import operator
import re
from collections.abc import Callable, Mapping
from decimal import Decimal

from ws_gateway.protocol.messages import FilterNode

Tags = Mapping[str, str]
Filter = Callable[[Tags], bool]

# It is evaluated for every publication; what people write by hand has a handful.
_MAX_NODES = 100
_MAX_VALUES = 1000
_MAX_DEPTH = 16

# No exponents, which would make huge numbers of short texts; no blanks, underscores or infinities.
_DECIMAL = re.compile(r"[+-]?[0-9]{1,100}(?:\.[0-9]{1,100})?", re.ASCII)

_TEXTS: dict[str, Callable[[str, str], bool]] = {
    "eq": operator.eq,
    "sw": str.startswith,
    "ew": str.endswith,
    "ct": operator.contains,
}
_NUMBERS: dict[str, Callable[[Decimal, Decimal], bool]] = {
    "gt": operator.gt,
    "gte": operator.ge,
    "lt": operator.lt,
    "lte": operator.le,
}
_NO_TAGS: Tags = {}


class BadFilter(ValueError):
    """A tree that is no filter."""


def compile_filter(tree: FilterNode) -> Filter:
    """Return the function that says whether a publication with these tags is wanted.

    Raises:
        BadFilter: The tree is malformed, or larger than a filter may be.
    """
    nodes, values = _measure(tree, 1)
    if nodes > _MAX_NODES or values > _MAX_VALUES:
        raise BadFilter("too large")
    return _compile(tree)


def wanted(wants: Filter, tags: Tags | None) -> bool:
    """Whether a filter lets a publication pass; one without tags is as one with none."""
    return wants(_NO_TAGS if tags is None else tags)


def _measure(node: FilterNode, depth: int) -> tuple[int, int]:
    if depth > _MAX_DEPTH:
        raise BadFilter("too deep")
    nodes, values = 1, len(node.vals)
    for child in node.nodes:
        more_nodes, more_values = _measure(child, depth + 1)
        nodes += more_nodes
        values += more_values
    return nodes, values


def _compile(node: FilterNode) -> Filter:
    match node.op:
        case "":
            return _compile_leaf(node)
        case "and" | "or" if node.nodes:
            children = [_compile(child) for child in node.nodes]
            if node.op == "and":
                return lambda tags: all(child(tags) for child in children)
            return lambda tags: any(child(tags) for child in children)
        case "not" if len(node.nodes) == 1:
            negated = _compile(node.nodes[0])
            return lambda tags: not negated(tags)
    raise BadFilter("unknown operation, or not as many nodes as it takes")


def _compile_leaf(node: FilterNode) -> Filter:
    key, value, values = node.key, node.val, node.vals
    if not key:
        raise BadFilter("no key")
    match node.cmp:
        case "ex" | "nex" if not value and not values:
            if node.cmp == "ex":
                return lambda tags: key in tags
            return lambda tags: key not in tags
        case "in" | "nin" if values and not value:
            chosen = frozenset(values)
            if node.cmp == "in":
                return lambda tags: tags.get(key, "") in chosen
            return lambda tags: tags.get(key, "") not in chosen
        case "neq" if value and not values:
            return lambda tags: tags.get(key) != value
        case text if text in _TEXTS and value and not values:
            holds = _TEXTS[text]
            return lambda tags: (tag := tags.get(key)) is not None and holds(tag, value)
        case number if number in _NUMBERS and value and not values:
            return _compare(key, _NUMBERS[number], _read_decimal(value))
    raise BadFilter("unknown comparison, or not the values it takes")


def _compare(key: str, holds: Callable[[Decimal, Decimal], bool], limit: Decimal | None) -> Filter:
    """Compare as numbers; what is no number compares with nothing."""

    def compare(tags: Tags) -> bool:
        if limit is None or (tag := tags.get(key)) is None:
            return False
        number = _read_decimal(tag)
        return number is not None and holds(number, limit)

    return compare


def _read_decimal(text: str) -> Decimal | None:
    return Decimal(text) if _DECIMAL.fullmatch(text) else None
