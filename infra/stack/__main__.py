"""``python -m infra.stack up | down | status | install``."""

from __future__ import annotations

import argparse
import os
import signal
import sys
from collections.abc import Sequence
from types import FrameType

EXIT_REFUSED = 1
EXIT_CONFIGURATION = 2
EXIT_INTERRUPTED = 130


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one order; returns the exit status."""
    parser = argparse.ArgumentParser(
        prog="python -m infra.stack",
        description="The stack on this machine; GATEWAYS, LIMITS, AUTH_* and GATEWAY_* count.",
    )
    parser.add_argument("order", choices=("up", "down", "status", "install"))
    order = parser.parse_args(arguments).order
    # A service manager's wish is as good as Ctrl-C: what has been started is stopped again.
    signal.signal(signal.SIGTERM, _interrupt)
    # Logs, data and configuration are for their owner's eyes, whichever program makes them.
    os.umask(0o077)
    try:
        return _run(order)
    except KeyboardInterrupt:
        return EXIT_INTERRUPTED


def _interrupt(_number: int, _frame: FrameType | None) -> None:
    raise KeyboardInterrupt


def _run(order: str) -> int:
    # The imports take a second, in which somebody may change his mind.
    import auth_service.exceptions  # noqa: PLC0415
    import ws_gateway.exceptions  # noqa: PLC0415
    from infra.stack import operations, programs  # noqa: PLC0415
    from infra.stack.exceptions import StackError  # noqa: PLC0415

    try:
        if order == "up":
            operations.up(os.environ)
        elif order == "down":
            operations.down(os.environ)
        elif order == "install":
            wanted = (programs.PACKAGES, programs.TEST_PACKAGES, programs.COMPILER_PACKAGES)
            programs.require(name for packages in wanted for name in packages)
        else:
            return 0 if operations.status(os.environ) else EXIT_REFUSED
    except StackError as error:
        sys.stderr.write(f"{error}\n")
        return EXIT_REFUSED
    except (
        auth_service.exceptions.ConfigurationError,
        ws_gateway.exceptions.ConfigurationError,
    ) as error:
        sys.stderr.write(f"{error}\n")
        return EXIT_CONFIGURATION
    return 0


if __name__ == "__main__":
    sys.exit(main())
