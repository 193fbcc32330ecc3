"""Tags filters (protocol section 10), beside a naive model of the table there."""

from __future__ import annotations

from collections.abc import Mapping
from fractions import Fraction

import pytest
from hypothesis import given, strategies as st

from ws_gateway.protocol.messages import FilterNode
from ws_gateway.tags import BadFilter, compile_filter, wanted

WORDS = st.sampled_from(["", "a", "ab", "b", "1", "1.0", "10", "-2.5", "x1", "1e3", "NaN", "٣"])
SINGLE = ["eq", "neq", "sw", "ew", "ct", "gt", "gte", "lt", "lte"]
LEAVES = (
    st.builds(
        FilterNode,
        key=st.sampled_from("kl"),
        cmp=st.sampled_from(SINGLE),
        val=WORDS.filter(bool),
    )
    | st.builds(
        FilterNode,
        key=st.sampled_from("kl"),
        cmp=st.sampled_from(["in", "nin"]),
        vals=st.lists(WORDS, min_size=1, max_size=3).map(tuple),
    )
    | st.builds(FilterNode, key=st.sampled_from("kl"), cmp=st.sampled_from(["ex", "nex"]))
)
TREES = st.recursive(
    LEAVES,
    lambda inner: (
        st.builds(
            FilterNode,
            op=st.sampled_from(["and", "or"]),
            nodes=st.lists(inner, min_size=1, max_size=3).map(tuple),
        )
        | st.builds(FilterNode, op=st.just("not"), nodes=st.tuples(inner))
    ),
    max_leaves=8,
)


def number(text: str) -> Fraction | None:
    """Read a decimal, if it is one."""
    if not text.isascii() or not text.removeprefix("-").replace(".", "", 1).isdigit():
        return None
    return Fraction(text)


def model(node: FilterNode, tags: Mapping[str, str]) -> bool:
    """Evaluate a good tree as the table reads."""
    if node.op:
        results = [model(child, tags) for child in node.nodes]
        return {"and": all(results), "or": any(results), "not": not results[0]}[node.op]
    present = node.key in tags
    tag = tags.get(node.key, "")
    left, right = number(tag), number(node.val)
    order = None if left is None or right is None or not present else left - right
    return {
        "eq": present and tag == node.val,
        "neq": not present or tag != node.val,
        "in": tag in node.vals,
        "nin": tag not in node.vals,
        "ex": present,
        "nex": not present,
        "sw": present and tag.startswith(node.val),
        "ew": present and tag.endswith(node.val),
        "ct": present and node.val in tag,
        "gt": order is not None and order > 0,
        "gte": order is not None and order >= 0,
        "lt": order is not None and order < 0,
        "lte": order is not None and order <= 0,
    }[node.cmp]


def leaf(cmp: str, val: str = "", *vals: str, key: str = "k") -> FilterNode:
    """Return a comparison."""
    return FilterNode(key=key, cmp=cmp, val=val, vals=vals)


def nested(depth: int) -> FilterNode:
    """Return a tree of so many levels."""
    node = leaf("ex")
    for _ in range(depth - 1):
        node = FilterNode(op="not", nodes=(node,))
    return node


class TestEvaluation:
    """What is wanted."""

    @given(TREES, st.dictionaries(st.sampled_from("klm"), WORDS))
    def test_any_tree_is_evaluated_as_the_table_says(
        self, tree: FilterNode, tags: dict[str, str]
    ) -> None:
        """Every comparison and every operation."""
        assert wanted(compile_filter(tree), tags) == model(tree, tags)

    @given(TREES)
    def test_no_tags_are_an_empty_map(self, tree: FilterNode) -> None:
        """Publications without tags are evaluated too."""
        assert wanted(compile_filter(tree), None) == model(tree, {})

    @pytest.mark.parametrize(
        ("left", "right"),
        [
            ("9007199254740993", "9007199254740992"),
            ("0.3", "0.29999999999999999999"),
            ("1" + "0" * 99, "9" * 99),
            ("-0.1", "-0.2"),
            ("+1", "0"),
        ],
    )
    def test_numbers_are_decimals(self, left: str, right: str) -> None:
        """No double rounds them."""
        assert compile_filter(leaf("gt", right))({"k": left})
        assert not compile_filter(leaf("lte", right))({"k": left})

    def test_equal_numbers_may_be_written_differently(self) -> None:
        """They are compared as numbers, not as text."""
        assert compile_filter(leaf("gte", "1.50"))({"k": "1.5"})

    @pytest.mark.parametrize(
        "text", ["", "x", "1e9", "NaN", "Infinity", " 1", "1 ", "1_0", "0x1", "1.", "--1", "٣"]
    )
    def test_what_is_no_number_compares_with_nothing(self, text: str) -> None:
        """On either side."""
        for cmp in ("gt", "gte", "lt", "lte"):
            assert not compile_filter(leaf(cmp, "1"))({"k": text})
            if text:
                assert not compile_filter(leaf(cmp, text))({"k": "1"})


class TestValidation:
    """What is no filter: the subscribe command fails with 107."""

    @pytest.mark.parametrize(
        "tree",
        [
            FilterNode(),
            FilterNode(key="k"),
            FilterNode(cmp="ex"),
            leaf("eq", key=""),
            leaf("like", "x"),
            leaf("eq"),
            leaf("eq", "x", "y"),
            leaf("neq"),
            leaf("gt"),
            leaf("gt", "1", "2"),
            leaf("in"),
            leaf("in", "x"),
            leaf("nin", "x", "y"),
            leaf("ex", "x"),
            leaf("nex", "", "y"),
            FilterNode(op="and"),
            FilterNode(op="or"),
            FilterNode(op="not"),
            FilterNode(op="not", nodes=(leaf("ex"), leaf("ex"))),
            FilterNode(op="xor", nodes=(leaf("ex"),)),
            FilterNode(op="and", nodes=(leaf("ex"), FilterNode())),
        ],
    )
    def test_malformed_tree_is_refused(self, tree: FilterNode) -> None:
        """Before any publication is looked at."""
        with pytest.raises(BadFilter):
            compile_filter(tree)

    def test_depth_is_bounded(self) -> None:
        """A tree is evaluated by recursion."""
        assert compile_filter(nested(15))({"k": ""})
        compile_filter(nested(16))
        with pytest.raises(BadFilter):
            compile_filter(nested(17))

    def test_size_is_bounded(self) -> None:
        """Each publication pays for it."""
        compile_filter(FilterNode(op="or", nodes=(leaf("ex"),) * 99))
        compile_filter(leaf("in", "", *map(str, range(1000))))
        with pytest.raises(BadFilter):
            compile_filter(FilterNode(op="or", nodes=(leaf("ex"),) * 100))
        with pytest.raises(BadFilter):
            compile_filter(leaf("in", "", *map(str, range(1001))))
