"""Recording rules and alerts, judged by Prometheus' own tool."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from infra.stack import prometheus
from tests.promtool import promtool

FOLDER = prometheus.SOURCE.parent
CASES = sorted((FOLDER / "tests").glob("*.yml"))
OPERATIONS = Path("docs/operations.md")
_BEGINNING = re.compile(r"(?=^      - (?:alert|record): )", re.MULTILINE)


def text(files: list[Path]) -> str:
    """Return what they say together."""
    return "".join(file.read_text("utf-8") for file in files)


def alerts() -> dict[str, str]:
    """Return each alert's name with its rule's text; of several of a name, all of them."""
    found: dict[str, str] = {}
    for rule in _BEGINNING.split(text(prometheus.rules())):
        if match := re.match(r" +- alert: (\w+)\n", rule):
            found[match[1]] = found.get(match[1], "") + rule
    return found


def test_rules_are_in_order() -> None:
    """Syntax, and no two alike."""
    promtool("check", "rules", "--lint=all", "--lint-fatal", *prometheus.rules())


@pytest.mark.timeout(240)
@pytest.mark.parametrize("case", CASES, ids=lambda case: case.stem)
def test_alerts_do_what_their_cases_say(case: Path) -> None:
    """Prometheus evaluates them over hours that take seconds."""
    promtool("test", "rules", case)


def test_every_alert_fires_in_a_case() -> None:
    """All of them are silent in the first, so an alert that is new must have a case too."""
    fired = set(re.findall(r"labels: '\{alertname=\"(\w+)\"", text(CASES)))

    assert fired == set(alerts())


@pytest.mark.parametrize("name", sorted(alerts()))
def test_every_alert_says_how_bad_it_is_and_what_to_do(name: str) -> None:
    """Whoever is woken finds the page, and there the heading."""
    rule = alerts()[name]
    count = rule.count("- alert:")

    for line in (r"severity: (?:page|ticket|info|none)", r"summary: \S.*\.", r"description: \S.*"):
        assert len(re.findall(rf"^          {line}$", rule, re.MULTILINE)) == count, line
    assert rule.count(f"runbook_url: {OPERATIONS}#{name.lower()}\n") == count
    # A heading's anchor is its text in small letters.
    assert f"\n### {name}\n" in OPERATIONS.read_text("utf-8")


def test_runbooks_are_of_alerts_that_exist() -> None:
    """A heading that no alert leads to is out of date."""
    _, _, part = OPERATIONS.read_text("utf-8").partition("\n## Alerts\n")
    part = part.partition("\n## ")[0]
    headings = re.findall(r"^### (\w+)$", part, re.MULTILINE)

    assert sorted(headings) == sorted(alerts())
