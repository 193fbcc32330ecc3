"""``python -m ws_gateway``: the gateway, configured by the environment.

With arguments it asks one that runs; see ``ws_gateway.cli``.
"""

from __future__ import annotations

import contextlib
import itertools
import sys

import uvloop

from ws_gateway import cli, logs, process
from ws_gateway.exceptions import ConfigurationError
from ws_gateway.listeners import bind, bind_for_each
from ws_gateway.settings import Settings


def run(settings: Settings) -> int:
    """Serve until a signal, then drain; returns the exit status.

    Raises:
        ConfigurationError: It cannot start with these settings.
    """
    with contextlib.ExitStack() as bound:
        public = bind_for_each(settings.bind, variable="GATEWAY_BIND", workers=settings.workers)
        for listener in itertools.chain.from_iterable(public):
            bound.enter_context(listener)
        internal = []
        for number in range(settings.workers):
            addresses = [(host, port and port + number) for host, port in settings.internal_bind]
            internal.append(bind(addresses, variable="GATEWAY_INTERNAL_BIND"))
            for listener in internal[-1]:
                bound.enter_context(listener)
        if settings.workers == 1:
            uvloop.run(process.run(settings, public=public[0], internal=internal[0]))
            return 0
        # gunicorn is not imported for those who do without.
        from ws_gateway.workers import serve  # noqa: PLC0415

        return serve(settings, public=public, internal=internal)


def main() -> int:
    """Run, and say in one line why it cannot; returns the exit status."""
    try:
        settings = Settings.from_environment()
        if len(sys.argv) > 1:
            host, port = settings.internal_bind[0]
            return cli.main(sys.argv[1:], url=f"http://{_reachable(host)}:{port}")
        logs.configure(settings.log_level, lines_per_minute=settings.log_lines_per_minute)
        return run(settings)
    except ConfigurationError as error:
        sys.stderr.write(f"{error}\n")
        return 2


def _reachable(host: str) -> str:
    """Name a host that one listens on as one connects to it."""
    if host in {"0.0.0.0", "::"}:  # noqa: S104 - compared, not bound
        return "127.0.0.1" if host == "0.0.0.0" else "[::1]"  # noqa: S104
    return f"[{host}]" if ":" in host else host


if __name__ == "__main__":
    sys.exit(main())
