"""The lines after ``make up``: those of ``make run``, and what there is besides."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TextIO

from infra.embedded import guide
from infra.stack.settings import Settings

_MORE = """\
{gateways} gateways behind nginx; without TLS for the suites of the SDKs: http://localhost:{plain}
Prometheus: http://localhost:{prometheus}
Logs: {logs}

make up GATEWAYS=n changes the number of gateways under traffic, make down ends it all.
"""


def show(stream: TextIO, *, settings: Settings, passwords: Mapping[str, str]) -> None:
    """Write the lines.

    Args:
        stream: Standard output.
        settings: Of what runs.
        passwords: Of the demo users.
    """
    more = _MORE.format(
        gateways=settings.gateways,
        plain=settings.ports.plain,
        prometheus=settings.ports.prometheus,
        logs=settings.stack.path("logs"),
    )
    guide.show(
        stream, origin=settings.origin, local=settings.local, passwords=passwords, ending=more
    )
