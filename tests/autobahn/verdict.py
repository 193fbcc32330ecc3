"""What a report of the Autobahn|Testsuite says: how many cases ended how, and which must not so."""

from __future__ import annotations

import json
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from typing_extensions import override

INDEX = "index.json"
_BEHAVIOR = {"OK", "NON-STRICT", "INFORMATIONAL"}
# "FAILED BY CLIENT" only says that the client hung up first. After a fault in the framing the
# gateway reads on for a second unless it sees its close frame answered, which might else be lost;
# the suite waits no longer, and does not always answer.
_CLOSE = {"OK", "INFORMATIONAL", "FAILED BY CLIENT"}
# These offer a compression window of 512 bytes and nothing else. Compressed frames are shared by
# all connections and have the largest window, so the gateway goes without, as it may.
_UNIMPLEMENTED = ("13.3.", "13.5.")


@dataclass(slots=True)
class Verdict:
    """A whole report.

    Attributes:
        behavior: How many cases ended in each word of the suite.
        close: The same for their closes.
        faults: A line for each case that must not have ended as it did.
    """

    behavior: Counter[str] = field(default_factory=Counter)
    close: Counter[str] = field(default_factory=Counter)
    faults: list[str] = field(default_factory=list)

    @override
    def __str__(self) -> str:
        """Say how many, in one line."""
        return (
            f"{self.behavior.total()} cases: {_listed(self.behavior)}; "
            f"their closes: {_listed(self.close)}"
        )


def judge(report: Path, cases: int) -> Verdict:
    """Judge what the suite has written.

    Args:
        report: The directory of its report.
        cases: How many it was to run.

    Raises:
        OSError: There is no report.
        ValueError: It is not JSON.
    """
    verdict = Verdict()
    agents = json.loads((report / INDEX).read_text("utf-8"))
    for results in agents.values():
        for case in sorted(results, key=_number):
            _judge_case(verdict, case, results[case], report)
    ran = verdict.behavior.total()
    if ran != cases or not ran:
        verdict.faults.append(f"{ran} cases have a result, of {cases}")
    return verdict


def _judge_case(verdict: Verdict, case: str, result: dict[str, Any], report: Path) -> None:
    behavior, close = result["behavior"], result["behaviorClose"]
    verdict.behavior[behavior] += 1
    verdict.close[close] += 1
    excused = behavior == "UNIMPLEMENTED" and case.startswith(_UNIMPLEMENTED)
    if (behavior not in _BEHAVIOR and not excused) or close not in _CLOSE:
        page = report / Path(result["reportfile"]).with_suffix(".html")
        code = result["remoteCloseCode"]
        verdict.faults.append(f"case {case}: {behavior}; close {close} ({code}): {page}")


def _number(case: str) -> list[int]:
    return [int(part) for part in case.split(".")]


def _listed(counts: Counter[str]) -> str:
    return ", ".join(f"{count} {word}" for word, count in counts.most_common()) or "none"
