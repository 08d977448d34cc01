"""What the gateway decides by: budgets, limits, provider credentials, routing of tenants, experiments."""

from alembic import op

revision = "0002"
down_revision = "0001"

DOMAINS = {
    "budgets": ("budgets", "rate_limits"),
    "credentials": ("provider_credentials",),
    "routing": ("tenant_settings", "tenant_models", "experiments"),
}
"""Snapshot domains and their tables."""

TABLES = """
CREATE TABLE snapshot_versions (
    domain text PRIMARY KEY,
    version bigint NOT NULL DEFAULT 0
);
CREATE TABLE budgets (
    id uuid PRIMARY KEY,
    tenant_id uuid NOT NULL REFERENCES tenants ON DELETE CASCADE,
    scope text NOT NULL CHECK (scope IN ('tenant', 'user', 'key', 'agent')),
    subject text NOT NULL,
    amount_nano bigint NOT NULL CHECK (amount_nano >= 0),
    period text NOT NULL CHECK (period IN ('day', 'month')),
    mode text NOT NULL CHECK (mode IN ('hard', 'alert')),
    created_at timestamptz NOT NULL DEFAULT now(),
    updated_at timestamptz NOT NULL DEFAULT now(),
    UNIQUE (tenant_id, scope, subject, period)
);
CREATE TABLE rate_limits (
    id uuid PRIMARY KEY,
    tenant_id uuid NOT NULL REFERENCES tenants ON DELETE CASCADE,
    scope text NOT NULL CHECK (scope IN ('tenant', 'user', 'key', 'agent')),
    subject text NOT NULL,
    requests_per_minute int NULL CHECK (requests_per_minute > 0),
    tokens_per_minute int NULL CHECK (tokens_per_minute > 0),
    concurrency int NULL CHECK (concurrency > 0),
    created_at timestamptz NOT NULL DEFAULT now(),
    updated_at timestamptz NOT NULL DEFAULT now(),
    UNIQUE (tenant_id, scope, subject)
);
CREATE TABLE provider_credentials (
    id uuid PRIMARY KEY,
    tenant_id uuid NOT NULL REFERENCES tenants ON DELETE CASCADE,
    user_id uuid NOT NULL,
    provider text NOT NULL,
    base_url text NULL,
    config jsonb NOT NULL DEFAULT '{}',
    sealed bytea NOT NULL,
    hint text NOT NULL,
    created_at timestamptz NOT NULL DEFAULT now(),
    updated_at timestamptz NOT NULL DEFAULT now(),
    tested_at timestamptz NULL,
    UNIQUE (tenant_id, provider)
);
CREATE TABLE tenant_settings (
    tenant_id uuid PRIMARY KEY REFERENCES tenants ON DELETE CASCADE,
    failover text NOT NULL DEFAULT 'automatic' CHECK (failover IN ('automatic', 'manual')),
    routing jsonb NOT NULL DEFAULT '{}',
    updated_at timestamptz NOT NULL DEFAULT now()
);
CREATE TABLE tenant_models (
    tenant_id uuid NOT NULL REFERENCES tenants ON DELETE CASCADE,
    provider text NOT NULL,
    model text NOT NULL,
    operation text NULL,
    context_window int NULL,
    input_price bigint NULL,
    output_price bigint NULL,
    created_at timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (tenant_id, provider, model)
);
CREATE TABLE experiments (
    id uuid PRIMARY KEY,
    tenant_id uuid NOT NULL REFERENCES tenants ON DELETE CASCADE,
    name text NOT NULL,
    operation text NULL,
    arms jsonb NOT NULL,
    state text NOT NULL CHECK (state IN ('running', 'stopped')),
    created_at timestamptz NOT NULL DEFAULT now(),
    updated_at timestamptz NOT NULL DEFAULT now(),
    UNIQUE (tenant_id, name)
)
"""

TRIGGER = """
CREATE FUNCTION raise_snapshot_version() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    INSERT INTO snapshot_versions (domain, version) VALUES (TG_ARGV[0], 1)
    ON CONFLICT (domain) DO UPDATE SET version = snapshot_versions.version + 1;
    RETURN NULL;
END $$
"""


def upgrade() -> None:
    """Create the tables, and count each change of them."""
    for statement in filter(str.strip, TABLES.split(";")):
        op.execute(statement)
    op.execute(TRIGGER)
    for domain, tables in DOMAINS.items():
        for table in tables:
            op.execute(
                f"CREATE TRIGGER raise_snapshot_version AFTER INSERT OR UPDATE OR DELETE OR TRUNCATE ON {table} "
                f"FOR EACH STATEMENT EXECUTE FUNCTION raise_snapshot_version('{domain}')"
            )


def downgrade() -> None:
    """Take them away."""
    for tables in DOMAINS.values():
        for table in tables:
            op.execute(f"DROP TABLE {table}")
    op.execute("DROP FUNCTION raise_snapshot_version")
    op.execute("DROP TABLE snapshot_versions")
