"""Resolve pyproject.toml into the hash-locked files beside this script."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

HERE = Path(__file__).parent
SETS = {
    "auth": ["--extra", "auth"],
    "gateway": ["--extra", "gateway"],
    "run": ["--extra", "auth", "--extra", "gateway"],
    "canary": ["--group", "canary"],
    "load": ["--group", "load"],
    "bench": ["--group", "bench"],
    "manifests": ["--group", "manifests"],
    "checkov": ["--group", "checkov"],
    "dev": ["--extra", "auth", "--extra", "gateway", "--group", "dev"],
}
# Runs none of our services, so it needs nothing of what these need.
ALONE = {"canary"}


def main() -> None:
    """Write one file per set; hashes, no index address, every platform."""
    for name, selection in SETS.items():
        project = [] if name in ALONE else ["pyproject.toml"]
        command = [
            *(sys.executable, "-m", "uv", "pip", "compile", *project, *selection),
            *("--upgrade", "--universal", "--python-version", "3.11", "--generate-hashes"),
            *("--no-emit-index-url", "--no-emit-find-links", "--quiet"),
            *("--custom-compile-command", "make lock"),
            *("--output-file", str(HERE.relative_to(HERE.parent) / f"{name}.txt")),
        ]
        subprocess.run(command, check=True, cwd=HERE.parent)  # noqa: S603 - our own words only


if __name__ == "__main__":
    main()
