"""How Alembic reaches the database: over the connection that `store.database.install.migrate` hands it."""

from alembic import context

from store.database import schema

context.configure(
    connection=context.config.attributes["connection"],
    version_table=schema.VERSION_TABLE,
    transactional_ddl=False,  # the caller's transaction holds all of it
    partitions=context.config.attributes.get("partitions", 1),  # for the first migration
)
context.run_migrations()
