"""What `make bench` runs."""

from __future__ import annotations

import pytest

from tests.benchmarks.__main__ import commands


@pytest.mark.parametrize(
    ("part", "fast", "programs"),
    [
        ("", False, ["bench_auth", "bench_revocation", "bench_gateway"]),
        ("", True, ["bench_auth --fast", "bench_revocation --fast", "bench_gateway --fast"]),
        ("auth", False, ["bench_auth"]),
        ("gateway", True, ["bench_gateway --fast"]),
        ("fanout", True, ["bench_gateway --fast --part fanout"]),
        ("soak", False, ["bench_soak"]),
    ],
)
def test_a_part_is_a_program_or_a_part_of_the_gateways(
    part: str, fast: bool, programs: list[str]
) -> None:
    """The page is written by whole programs only."""
    found = [
        " ".join(words[2:]).removeprefix("tests.benchmarks.") for words in commands(part, fast=fast)
    ]

    assert found == programs
