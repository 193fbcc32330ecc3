"""All tables."""

from __future__ import annotations

from auth_service.store.tables import METADATA


def test_every_constraint_and_index_has_a_name() -> None:
    """Migrations can only change what they can name."""
    for table in METADATA.tables.values():
        assert table.primary_key.name == f"pk_{table.name}"
        assert all(one.name for one in table.constraints)
        assert all(one.name for one in table.indexes)
