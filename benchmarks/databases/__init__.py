"""The same records on SQLite and on PostgreSQL."""
