"""``python -m ws_gateway``: the gateway, configured by the environment."""

from __future__ import annotations

import contextlib
import sys

import uvloop

from ws_gateway import logs, process
from ws_gateway.exceptions import ConfigurationError
from ws_gateway.listeners import bind
from ws_gateway.settings import Settings


def run(settings: Settings) -> int:
    """Serve until a signal, then drain; returns the exit status.

    Raises:
        ConfigurationError: It cannot start with these settings.
    """
    with contextlib.ExitStack() as bound:
        public = bind(settings.bind, variable="GATEWAY_BIND")
        for listener in public:
            bound.enter_context(listener)
        internal = []
        for number in range(settings.workers):
            addresses = [(host, port and port + number) for host, port in settings.internal_bind]
            internal.append(bind(addresses, variable="GATEWAY_INTERNAL_BIND"))
            for listener in internal[-1]:
                bound.enter_context(listener)
        if settings.workers == 1:
            uvloop.run(process.run(settings, public=public, internal=internal[0]))
            return 0
        # gunicorn is not imported for those who do without.
        from ws_gateway.workers import serve  # noqa: PLC0415

        return serve(settings, public=public, internal=internal)


def main() -> int:
    """Run, and say in one line why it cannot; returns the exit status."""
    try:
        settings = Settings.from_environment()
        logs.configure(settings.log_level)
        return run(settings)
    except ConfigurationError as error:
        sys.stderr.write(f"{error}\n")
        return 2


if __name__ == "__main__":
    sys.exit(main())
