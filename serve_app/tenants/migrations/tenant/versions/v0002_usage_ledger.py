"""The usage ledger: one row for each attempt at a provider.

cost_nano: null where nobody knows. reserved_nano: the most it could cost, as budgets had reserved it; they are charged
this where the cost is unknown.
"""

from alembic import op

revision = "0002"
down_revision = "0001"

STATEMENTS = """
CREATE TABLE usage_ledger (
    id uuid PRIMARY KEY,
    request_id text NOT NULL,
    attempt smallint NOT NULL,
    started_at timestamptz NOT NULL,
    user_id text NOT NULL,
    key_id text NOT NULL,
    agent_id text NULL,
    dialect text NOT NULL,
    provider text NOT NULL,
    model text NOT NULL,
    credential text NOT NULL,
    operation text NOT NULL,
    reason text NOT NULL,
    experiment text NULL,
    arm text NULL,
    streamed boolean NOT NULL,
    outcome text NOT NULL,
    error_code text NULL,
    input_tokens bigint NOT NULL,
    output_tokens bigint NOT NULL,
    cached_tokens bigint NOT NULL,
    cache_write_tokens bigint NOT NULL,
    estimated boolean NOT NULL,
    cost_nano bigint NULL,
    reserved_nano bigint NULL,
    latency_ms real NOT NULL,
    first_token_ms real NULL,
    recorded_at timestamptz NOT NULL DEFAULT now()
);
CREATE INDEX usage_ledger_started_at ON usage_ledger (started_at);
CREATE INDEX usage_ledger_request_id ON usage_ledger (request_id);
CREATE INDEX usage_ledger_arm ON usage_ledger (experiment, arm) WHERE experiment IS NOT NULL
"""


def upgrade() -> None:
    """Create the table."""
    for statement in filter(str.strip, STATEMENTS.split(";")):
        op.execute(statement)


def downgrade() -> None:
    """Take it away."""
    op.execute("DROP TABLE usage_ledger")
