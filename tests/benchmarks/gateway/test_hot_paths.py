"""What perf prints is summed up by what the reader knows."""

from __future__ import annotations

import pytest

from tests.benchmarks.gateway.hot_paths import layers

REPORT = """
# To display the perf.data header info, please use --header/--header-only options.
#
# Overhead  Shared Object
# ........  .......................................
#
    60.98%  [kernel.kallsyms]
    10.80%  libpython3.11.so.1.0
     6.50%  loop.cpython-311-x86_64-linux-gnu.so
     1.00%  [vdso]
     0.20%  python3.11
     0.05%  speedups.cpython-311-x86_64-linux-gnu.so
"""


def test_program_files_are_layers() -> None:
    """Those nobody knows are the rest; comments are no figures."""
    assert layers(REPORT) == pytest.approx(
        {
            "kernel": 0.6198,
            "Python: the interpreter, with our code": 0.11,
            "uvloop": 0.065,
            "the rest": 0.0005,
        }
    )
