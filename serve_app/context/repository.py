"""SQL that reads collections and documents. They are written by the retriever's store."""

from dataclasses import dataclass
from uuid import UUID

import asyncpg
import orjson

from kit.postgres import Database, Databases
from serve_app.context.schemas import Chunk, Document

MAX_CHUNKS = 1000

_COLLECTIONS = "SELECT name, version FROM collections ORDER BY name"
_VERSION = "SELECT version FROM collections WHERE name = $1"
_DOCUMENT = """
SELECT d.id, c.name AS collection, d.title, d.source, d.subject, d.class_level, d.attributes, d.chunk_count,
       d.token_count, d.created_at, d.updated_at
FROM documents d JOIN collections c ON c.id = d.collection_id
WHERE d.id = $1
"""
_CHUNKS = """
SELECT id, ordinal, heading, text, token_count FROM chunks WHERE document_id = $1 ORDER BY ordinal LIMIT $2
"""


@dataclass(frozen=True, slots=True)
class Collection:
    """version: grows with every commit of an ingestion or deletion."""

    name: str
    version: int


class ContextRepository:
    """Reads of one tenant's database."""

    def __init__(self, databases: Databases) -> None:
        self._databases = databases

    def _database(self, tenant: str) -> Database:
        return self._databases.pool(f"penstock_t_{tenant}")

    async def collections(self, tenant: str) -> list[Collection]:
        """Every collection by name."""
        rows = await self._database(tenant).fetch(_COLLECTIONS)
        return [Collection(row["name"], row["version"]) for row in rows]

    async def version(self, tenant: str, collection: str) -> int | None:
        """A collection's present version, None where there is no such collection."""
        version: int | None = await self._database(tenant).fetchval(_VERSION, collection)
        return version

    async def document(self, tenant: str, document_id: UUID) -> Document | None:
        """A document with its chunks in order."""
        async with self._database(tenant).acquire() as connection:
            row = await connection.fetchrow(_DOCUMENT, document_id)
            if row is None:
                return None
            chunks = await connection.fetch(_CHUNKS, document_id, MAX_CHUNKS)
        return _document(row, chunks)


def _document(row: asyncpg.Record, chunks: list[asyncpg.Record]) -> Document:
    attributes = row["attributes"]
    return Document(
        id=row["id"],
        collection=row["collection"],
        title=row["title"],
        source=row["source"],
        subject=row["subject"],
        class_level=row["class_level"],
        attributes=orjson.loads(attributes) if isinstance(attributes, str) else attributes or {},
        chunk_count=row["chunk_count"],
        token_count=row["token_count"],
        created_at=row["created_at"],
        updated_at=row["updated_at"],
        chunks=[Chunk(**dict(chunk)) for chunk in chunks],
    )
