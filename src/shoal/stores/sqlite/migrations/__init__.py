"""The history of the journal's schema, for Alembic. Only `migration` runs it."""
