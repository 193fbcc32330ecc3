"""What stops ``make up``."""

from __future__ import annotations

from infra.stack.exceptions import StackError


def test_its_text_is_the_line_to_show() -> None:
    """Nothing around it."""
    assert str(StackError("missing: nginx")) == "missing: nginx"
