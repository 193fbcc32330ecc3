"""What Alembic runs a migration with: the connection that `store.migration` holds the lock on."""

from __future__ import annotations

from alembic import context

from auth_service.store.tables import METADATA

context.configure(
    connection=context.config.attributes["connection"],
    target_metadata=METADATA,
    # The transaction is the caller's, around all revisions: all of them, or none.
    transactional_ddl=True,
    transaction_per_migration=False,
)
context.run_migrations()
