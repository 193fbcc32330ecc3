"""The lines after ``make up``."""

from __future__ import annotations

import io

from infra.stack import guide
from infra.stack.settings import read


def test_the_lines_say_where_everything_is() -> None:
    """Without a password, where nobody may be reading."""
    stream = io.StringIO()

    guide.show(
        stream, settings=read({"GATEWAYS": "3"}), passwords={"alice": "secret", "bob": "too"}
    )

    said = stream.getvalue()
    for part in (
        "https://localhost:8443",
        "3 gateways",
        "http://localhost:8000",
        "Prometheus: http://localhost:9190",
        ".local/stack/logs",
        "make down",
    ):
        assert part in said
    assert "secret" not in said
    assert "Ctrl-C" not in said
