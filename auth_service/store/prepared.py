"""Statements of one round trip: written out once, and run by the driver itself.

What is asked with every request is one statement, outside of any transaction. SQLAlchemy composes
its text, once; its own machinery for running it would cost several times what the database does.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from sqlalchemy import Select
from sqlalchemy.engine import Dialect
from sqlalchemy.sql.dml import ReturningUpdate

if TYPE_CHECKING:
    from sqlalchemy.engine.interfaces import _CoreSingleExecuteParams


class Prepared:
    """One statement whose parameters are texts, whole numbers and truth values.

    Values come back as the driver gives them: SQLite's truth values are 0 and 1.

    Args:
        statement: A ``SELECT``, or an ``UPDATE … RETURNING``, with a ``bindparam`` for each value.
    """

    def __init__(self, statement: Select[Any] | ReturningUpdate[Any]) -> None:
        self._statement = statement
        #: Whether it changes something.
        self.writes = not isinstance(statement, Select)
        # Dialect → text, and each value's name and what it is unless given.
        self._written: dict[str, tuple[str, list[tuple[str, Any]]]] = {}

    def written(self, dialect: Dialect, values: Mapping[str, Any]) -> tuple[str, list[Any]]:
        """Return the text for a kind of database, and the values in its order."""
        if dialect.name not in self._written:
            compiled = self._statement.compile(dialect=dialect)
            constants: _CoreSingleExecuteParams = compiled.params
            names = compiled.positiontup or []
            self._written[dialect.name] = (
                str(compiled),
                [(name, constants[name]) for name in names],
            )
        text, places = self._written[dialect.name]
        return text, [values.get(name, constant) for name, constant in places]
