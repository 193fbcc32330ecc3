"""``python -m infra.canary``: try to be in touch, until told to end."""

from __future__ import annotations

import asyncio
import contextlib
import logging.config
import os
import signal
import ssl
import sys
from collections.abc import Iterator, Mapping

from prometheus_client import CollectorRegistry, ProcessCollector, start_http_server

from infra.canary.login import Login
from infra.canary.metrics import Metrics
from infra.canary.probe import Probe
from infra.canary.settings import ConfigurationError, Settings

EXIT_CONFIGURATION = 2


def main(environment: Mapping[str, str] | None = None) -> int:
    """Run until SIGTERM or SIGINT; returns the exit status."""
    _configure_logs()
    try:
        settings = Settings.from_environment(os.environ if environment is None else environment)
        tls = _trust(settings)
        registry = CollectorRegistry()
        ProcessCollector(registry=registry)
        metrics = Metrics(registry, settings.interval_seconds)
        with _exposed(settings, registry):
            asyncio.run(_run(settings, metrics, tls))
    except ConfigurationError as error:
        sys.stderr.write(f"{error}\n")
        return EXIT_CONFIGURATION
    return 0


async def _run(settings: Settings, metrics: Metrics, tls: ssl.SSLContext) -> None:
    login = Login(settings, metrics, tls)
    task = asyncio.create_task(Probe(settings, login, metrics, tls).run())
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, task.cancel)
    logging.getLogger(__name__).info("started", extra={"url": settings.url})
    with contextlib.suppress(asyncio.CancelledError):
        await task
    await login.close()


def _trust(settings: Settings) -> ssl.SSLContext:
    try:
        return ssl.create_default_context(cafile=settings.ca_file)
    except OSError as error:
        raise ConfigurationError(f"CANARY_CA_FILE: {error}") from None


@contextlib.contextmanager
def _exposed(settings: Settings, registry: CollectorRegistry) -> Iterator[None]:
    """Show the numbers, whatever the path: there is nothing else."""
    host, port = settings.bind
    try:
        server, thread = start_http_server(port, host, registry)
    except OSError as error:
        raise ConfigurationError(f"CANARY_BIND: {error.strerror}") from None
    try:
        yield
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def _configure_logs() -> None:
    """Send every log record to standard error as a line of JSON."""
    logging.config.dictConfig(
        {
            "version": 1,
            "disable_existing_loggers": False,
            "formatters": {
                "json": {
                    "()": "pythonjsonlogger.json.JsonFormatter",
                    "fmt": "%(levelname)s %(name)s %(message)s",
                    "rename_fields": {"levelname": "level", "name": "logger", "message": "event"},
                    "timestamp": "time",
                }
            },
            "handlers": {"stderr": {"class": "logging.StreamHandler", "formatter": "json"}},
            "root": {"level": "INFO", "handlers": ["stderr"]},
            # These would write down addresses and, told to, what is sent.
            "loggers": {
                name: {"level": "WARNING"}
                for name in ("centrifuge", "httpx2", "httpcore2", "websockets")
            },
        }
    )


if __name__ == "__main__":
    sys.exit(main())
