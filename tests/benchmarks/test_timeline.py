"""Lines over time: each value stands where its time and its scale put it."""

from __future__ import annotations

from xml.etree import ElementTree as ET

from tests.benchmarks.timeline import Panel, timeline


def test_lines_and_labels_are_drawn() -> None:
    """From the beginning to the end, on a scale of round numbers; names are escaped."""
    svg = timeline(
        "a < b",
        [0.0, 60.0, 120.0],
        [Panel("MiB", {"one & two": [0.0, 30.0, 45.0]}), Panel("%", {"p": [0.0, 0.0, 0.0]})],
    )

    tree = ET.fromstring(svg)  # noqa: S314 - our own text
    texts = [element.text for element in tree.iter() if element.tag.endswith("text")]
    assert {"a < b", "one & two", "50 MiB", "0 MiB", "2.0 min", "1 %"} <= set(texts)
    lines = [element.get("d", "") for element in tree.iter() if element.get("stroke-width") == "2"]
    # 430 wide from 60 on, 150 high from 34 on.
    assert lines[0] == "M60.0 184.0L275.0 94.0L490.0 49.0"
    assert len(lines) == 2


def test_the_same_is_drawn_of_the_same() -> None:
    """So that the page changes only when figures do."""
    panels = [Panel("ms", {"p99": [1.0, 2.0]})]

    assert timeline("t", [0.0, 1.0], panels) == timeline("t", [0.0, 1.0], panels)
