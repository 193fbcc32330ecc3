"""What is read out of a report."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.autobahn.verdict import INDEX, Verdict, judge


def judged(directory: Path, *results: tuple[str, str, str], cases: int | None = None) -> Verdict:
    """Judge a report of these cases, behaviours and closes."""
    index = {
        case: {
            "behavior": behavior,
            "behaviorClose": close,
            "duration": 2,
            "remoteCloseCode": None if close == "UNCLEAN" else 1000,
            "reportfile": f"drawbridge_case_{case.replace('.', '_')}.json",
        }
        for case, behavior, close in results
    }
    (directory / INDEX).write_text(json.dumps({"drawbridge": index}), "utf-8")
    return judge(directory, len(results) if cases is None else cases)


def test_a_good_report_has_counts_and_no_fault(tmp_path: Path) -> None:
    """What is not strict, only told, or ended by the suite itself, conforms."""
    verdict = judged(
        tmp_path,
        ("1.1.1", "OK", "OK"),
        ("1.1.2", "OK", "OK"),
        ("2.5", "OK", "FAILED BY CLIENT"),
        ("6.4.1", "NON-STRICT", "OK"),
        ("7.1.6", "INFORMATIONAL", "INFORMATIONAL"),
        ("13.3.1", "UNIMPLEMENTED", "OK"),
    )

    assert verdict.faults == []
    assert str(verdict) == (
        "6 cases: 3 OK, 1 NON-STRICT, 1 INFORMATIONAL, 1 UNIMPLEMENTED; "
        "their closes: 4 OK, 1 FAILED BY CLIENT, 1 INFORMATIONAL"
    )


@pytest.mark.parametrize(
    ("behavior", "close"),
    [
        ("FAILED", "OK"),
        ("OK", "FAILED"),
        ("OK", "WRONG CODE"),
        ("OK", "UNCLEAN"),
        ("WRONG CODE", "OK"),
        ("UNIMPLEMENTED", "OK"),
        ("a word of tomorrow", "OK"),
    ],
)
def test_a_case_that_must_not_end_so_is_named(tmp_path: Path, behavior: str, close: str) -> None:
    """With the page of the report that shows its frames."""
    verdict = judged(tmp_path, ("1.1.1", "OK", "OK"), ("9.1.6", behavior, close))

    (fault,) = verdict.faults
    assert fault.startswith(f"case 9.1.6: {behavior}; close {close} (")
    assert fault.endswith(f"{tmp_path}/drawbridge_case_9_1_6.html")


def test_compression_that_was_not_agreed_on_is_a_fault(tmp_path: Path) -> None:
    """But for the offers of a small window alone: all of 12 and 13 would pass without it."""
    verdict = judged(
        tmp_path,
        *((f"12.1.{number}", "UNIMPLEMENTED", "OK") for number in (2, 10)),
        *((f"13.{offer}.1", "UNIMPLEMENTED", "OK") for offer in range(1, 8)),
    )

    named = [fault.split(":")[0].removeprefix("case ") for fault in verdict.faults]
    assert named == ["12.1.2", "12.1.10", "13.1.1", "13.2.1", "13.4.1", "13.6.1", "13.7.1"]


def test_cases_without_a_result_are_a_fault(tmp_path: Path) -> None:
    """A suite that ends half-way has failed nothing."""
    verdict = judged(tmp_path, ("1.1.1", "OK", "OK"), cases=517)

    assert verdict.faults == ["1 cases have a result, of 517"]


def test_a_report_of_nothing_is_a_fault(tmp_path: Path) -> None:
    """Cases that do not exist can have been asked for."""
    verdict = judged(tmp_path)

    assert verdict.faults == ["0 cases have a result, of 0"]
    assert str(verdict) == "0 cases: none; their closes: none"
