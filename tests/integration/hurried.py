"""Runs a program of ours with less time between its looks at the signing keys.

    python -m tests.integration.hurried MODULE ARGUMENT…

A rotation that takes six minutes then takes seconds, and nothing else about it is different: the
times of the keys are real ones, and the processes follow them by their own clocks.
"""

from __future__ import annotations

import functools
import runpy
import sys

from auth_service import rotation
from ws_gateway import verifier
from ws_gateway.jwks import JWKSCache

#: How often the token service reads its keys; two seconds otherwise.
RELOAD_SECONDS = 0.1
#: The age at which a gateway asks for the key set again; five minutes otherwise.
REFRESH_SECONDS = 0.2
#: How soon a gateway asks again because of a key it does not know; ten seconds otherwise.
COOLDOWN_SECONDS = 0.05


def main() -> None:
    """Run what the command line names."""
    hasty = functools.partial(
        JWKSCache, refresh_seconds=REFRESH_SECONDS, cooldown_seconds=COOLDOWN_SECONDS
    )
    for module, name, value in (
        (rotation, "RELOAD_SECONDS", RELOAD_SECONDS),
        (verifier, "JWKSCache", hasty),
    ):
        assert hasattr(module, name)
        setattr(module, name, value)
    del sys.argv[0]
    runpy.run_module(sys.argv[0], run_name="__main__", alter_sys=True)


if __name__ == "__main__":
    main()
