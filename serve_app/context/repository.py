"""SQL that reads documents as people see them. The retriever's store writes them."""

from uuid import UUID

import asyncpg
import orjson

from deployments.retriever.store import tenant_database
from kit.postgres import Databases
from serve_app.context.schemas import Chunk, Document

_DOCUMENT = """
SELECT d.id, c.name AS collection, d.title, d.source, d.subject, d.class_level, d.attributes, d.chunk_count,
       d.token_count, d.created_at, d.updated_at
FROM documents d JOIN collections c ON c.id = d.collection_id
WHERE d.id = $1
"""
_CHUNKS = "SELECT id, ordinal, heading, text, token_count FROM chunks WHERE document_id = $1 ORDER BY ordinal"


class DocumentRepository:
    """Documents of the tenants, each in its own database."""

    def __init__(self, databases: Databases) -> None:
        self._databases = databases

    async def document(self, tenant: str, document_id: UUID) -> Document | None:
        """A document with its chunks in order, as of one moment."""
        async with (
            self._databases.pool(tenant_database(tenant)).acquire() as connection,
            connection.transaction(isolation="repeatable_read", readonly=True),
        ):
            row = await connection.fetchrow(_DOCUMENT, document_id)
            chunks = await connection.fetch(_CHUNKS, document_id)
        return None if row is None else _document(row, chunks)


def _document(row: asyncpg.Record, chunks: list[asyncpg.Record]) -> Document:
    columns = dict(row)
    columns["attributes"] = orjson.loads(columns["attributes"])
    return Document(**columns, chunks=[Chunk(**dict(chunk)) for chunk in chunks])
