"""``python -m infra.embedded``, interrupted at whatever moment."""

from __future__ import annotations

import sys

EXIT_INTERRUPTED = 130


def main() -> int:
    """Run the server; returns the exit status."""
    try:
        # Here, because the imports take a second in which somebody may change his mind. Once it
        # serves, Ctrl-C is the order to end well and no interruption.
        from infra.embedded import server  # noqa: PLC0415

        return server.main()
    except KeyboardInterrupt:
        return EXIT_INTERRUPTED


if __name__ == "__main__":
    sys.exit(main())
