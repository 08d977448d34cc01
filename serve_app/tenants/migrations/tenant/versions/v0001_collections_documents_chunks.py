"""Collections, documents and chunks with their vectors."""

from alembic import op

revision = "0001"
down_revision = None

STATEMENTS = """
CREATE EXTENSION IF NOT EXISTS vector;
CREATE TABLE collections (
    id uuid PRIMARY KEY,
    name text NOT NULL UNIQUE,
    version bigint NOT NULL DEFAULT 0,
    dense_weight real NOT NULL DEFAULT 0.5 CHECK (dense_weight BETWEEN 0 AND 1),
    created_at timestamptz NOT NULL DEFAULT now()
);
CREATE TABLE documents (
    id uuid PRIMARY KEY,
    collection_id uuid NOT NULL REFERENCES collections ON DELETE CASCADE,
    source text NOT NULL,
    title text NOT NULL,
    subject text NULL,
    class_level text NULL,
    content_hash bytea NOT NULL,
    attributes jsonb NOT NULL DEFAULT '{}',
    chunk_count int NOT NULL,
    token_count int NOT NULL,
    version bigint NOT NULL,
    created_at timestamptz NOT NULL DEFAULT now(),
    updated_at timestamptz NOT NULL DEFAULT now(),
    UNIQUE (collection_id, source)
);
CREATE TABLE chunks (
    id uuid PRIMARY KEY,
    document_id uuid NOT NULL REFERENCES documents ON DELETE CASCADE,
    collection_id uuid NOT NULL,
    ordinal int NOT NULL,
    heading text NOT NULL,
    text text NOT NULL,
    token_count int NOT NULL,
    embedding vector(384) NOT NULL,
    token_vectors bytea NOT NULL,
    UNIQUE (document_id, ordinal)
);
CREATE INDEX chunks_collection_id ON chunks (collection_id);
COMMENT ON COLUMN documents.version IS 'version of the collection that brought the present chunks';
COMMENT ON COLUMN chunks.token_vectors IS 'int8 [t, 384] row-major, value / 127';
"""


def upgrade() -> None:
    """Create the extension and the tables."""
    for statement in filter(str.strip, STATEMENTS.split(";")):
        op.execute(statement)
