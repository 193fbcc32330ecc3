"""CPU as bars."""

from __future__ import annotations

import re
import xml.etree.ElementTree as ET

import pytest

from tests.benchmarks.bars import bars
from tests.benchmarks.gateway.accounting import Spread

SPREADS = {
    "floor": Spread(4e-6, 3.5e-6, 4.5e-6),
    "Drawbridge, JSON": Spread(6e-6, 5e-6, 8e-6),
    "another <one>": Spread(12e-6, 11e-6, 13e-6),
}


def test_bars_are_as_long_as_the_medians() -> None:
    """Twice the CPU is twice the length."""
    text = bars("CPU", SPREADS)
    ends = [float(end) for end in re.findall(r'd="M270 \d+H([\d.]+)v', text)]

    lengths = [end - 270 for end in ends]

    assert [length / lengths[0] for length in lengths] == pytest.approx([1, 1.5, 3], rel=0.01)


def test_names_are_text() -> None:
    """Whatever is in them, the file stays well-formed, and the same for the same figures."""
    text = bars("CPU & more", SPREADS)

    words = "".join(ET.fromstring(text).itertext())  # noqa: S314 - it is our own
    assert "another <one>" in words
    assert "6.00 µs" in words
    assert text == bars("CPU & more", SPREADS)
