"""Run by Alembic: the connection comes from serve_app/tenants/migrate.py, the only caller."""

from alembic import context

context.configure(connection=context.config.attributes["connection"])
with context.begin_transaction():
    context.run_migrations()
