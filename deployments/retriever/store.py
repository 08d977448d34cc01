"""Every SQL statement on collections, documents and chunks of one tenant's database.

How a change becomes visible: a writer does its work first, then raises `collections.version` and commits. The raise
takes the row lock of the collection, so versions are committed in their order: who reads version v sees every change
up to v. `documents.version` is the version that brought the document's present chunks; the lock is held for two small
updates only, however long the chunks took.
"""

import asyncio
import json
from collections.abc import AsyncIterable, AsyncIterator, Sequence
from typing import Any
from uuid import UUID

import numpy as np
from numpy.typing import NDArray

from deployments.retriever.records import (
    Changes,
    ChunkRows,
    Collection,
    CollectionSummary,
    DocumentRow,
    NewChunk,
    NewDocument,
    PassageRow,
)
from kit.ids import uuid7
from kit.postgres import Connection, Database

DIMENSIONS = 384

_ROWS_AT_ONCE = 500
"""Rows decoded between two turns of the event loop: a few milliseconds."""

_CHUNK_COLUMNS = (
    "id",
    "document_id",
    "collection_id",
    "ordinal",
    "heading",
    "text",
    "token_count",
    "embedding",
    "token_vectors",
)


def tenant_database(slug: str) -> str:
    """The name of a tenant's database."""
    return f"penstock_t_{slug}"


class Store:
    """The documents of one tenant."""

    def __init__(self, database: Database) -> None:
        self._database = database

    # --- collections ---

    async def collection(self, name: str) -> Collection | None:
        """The collection of that name as it is now."""
        if "\0" in name:
            return None  # Postgres refuses to compare with such text
        row = await self._database.fetchrow(
            "SELECT id, name, version, dense_weight FROM collections WHERE name = $1", name
        )
        return None if row is None else Collection(*row)

    async def ensure_collection(self, name: str, dense_weight: float = 0.5) -> Collection:
        """The collection of that name, made now if there is none. `dense_weight` is for a new one."""
        await self._database.execute(
            "INSERT INTO collections (id, name, dense_weight) VALUES ($1, $2, $3) ON CONFLICT (name) DO NOTHING",
            uuid7(),
            name,
            dense_weight,
        )
        found = await self.collection(name)
        if found is None:
            raise LookupError(f"Collection {name!r} was removed at this moment.")
        return found

    async def collection_names(self) -> list[str]:
        """All collections by name."""
        return [row[0] for row in await self._database.fetch("SELECT name FROM collections ORDER BY name")]

    async def collections(self) -> list[CollectionSummary]:
        """All collections by name, with how much is in them."""
        rows = await self._database.fetch(
            """SELECT c.id, c.name, c.version, c.dense_weight, count(d.id), coalesce(sum(d.chunk_count), 0)::bigint
               FROM collections c LEFT JOIN documents d ON d.collection_id = c.id GROUP BY c.id ORDER BY c.name"""
        )
        return [CollectionSummary(Collection(*row[:4]), row[4], row[5]) for row in rows]

    # --- documents ---

    async def content_hashes(self, collection: UUID, sources: Sequence[str]) -> dict[str, bytes]:
        """The content hash of each of these sources that is stored."""
        rows = await self._database.fetch(
            "SELECT source, content_hash FROM documents WHERE collection_id = $1 AND source = ANY($2::text[])",
            collection,
            list(sources),
        )
        return {row[0]: row[1] for row in rows}

    async def replace_document(
        self, collection: UUID, document: NewDocument, chunks: AsyncIterable[NewChunk]
    ) -> int | None:
        """Write a document in one transaction, in the place of the one with the same source, whose id it keeps.

        How many chunks it has; None when it is stored already with this content hash, and `chunks` is not asked. Two
        writers of one source wait for each other. `chunks` is consumed while it is copied, so a document need not fit
        into memory.
        """
        async with self._database.transaction() as connection:
            document_id = await _claim(connection, collection, document)
            if document_id is None:
                return None
            await connection.execute("DELETE FROM chunks WHERE document_id = $1", document_id)
            written = _Counted(chunks, document_id, collection)
            await connection.copy_records_to_table("chunks", records=written.records(), columns=_CHUNK_COLUMNS)
            version = await _raise_version(connection, collection)
            await connection.execute(
                "UPDATE documents SET version = $2, chunk_count = $3, token_count = $4 WHERE id = $1",
                document_id,
                version,
                written.chunks,
                written.tokens,
            )
        return written.chunks

    async def delete_document(self, document_id: UUID) -> bool:
        """Remove a document and its chunks. False when there is none."""
        async with self._database.transaction() as connection:
            collection = await connection.fetchval(
                "DELETE FROM documents WHERE id = $1 RETURNING collection_id", document_id
            )
            if collection is None:
                return False
            await _raise_version(connection, collection)
        return True

    # --- what the index reads ---

    async def passages(self, chunk_ids: Sequence[UUID]) -> dict[UUID, PassageRow]:
        """What is quoted of these chunks, those that are still there."""
        rows = await self._database.fetch(
            """SELECT c.id, d.id, d.title, d.source, d.subject, d.class_level, c.heading, c.text
               FROM chunks c JOIN documents d ON d.id = c.document_id WHERE c.id = ANY($1::uuid[])""",
            list(chunk_ids),
        )
        return {row[0]: PassageRow(*row) for row in rows}

    async def nearest(
        self, collection: UUID, vector: NDArray[np.float32], limit: int, documents: Sequence[UUID] | None
    ) -> list[tuple[UUID, float]]:
        """The chunks nearest to `vector` (float32 [384]) with their inner products, best first; of these documents
        only, if given. Exact: Postgres looks at every chunk."""
        rows = await self._database.fetch(
            """SELECT id, -(embedding <#> $2) FROM chunks
               WHERE collection_id = $1 AND ($4::uuid[] IS NULL OR document_id = ANY($4))
               ORDER BY embedding <#> $2, id LIMIT $3""",
            collection,
            vector,
            limit,
            None if documents is None else list(documents),
        )
        return [(row[0], row[1]) for row in rows]

    async def similarities(self, chunk_ids: Sequence[UUID], vector: NDArray[np.float32]) -> dict[UUID, float]:
        """The inner product of each of these chunks with `vector` (float32 [384])."""
        rows = await self._database.fetch(
            "SELECT id, -(embedding <#> $2) FROM chunks WHERE id = ANY($1::uuid[])", list(chunk_ids), vector
        )
        return {row[0]: row[1] for row in rows}

    async def changes(self, collection: UUID, since: int, *, vectors: bool) -> Changes | None:
        """What has been committed to a collection after version `since`; None when the collection is gone.

        One snapshot of the database: the version, the changed documents with their chunks, and the ids of all
        documents that live. vectors: False leaves the chunks' vectors out (float32 [n, 0]).
        """
        async with (
            self._database.acquire() as connection,
            connection.transaction(isolation="repeatable_read", readonly=True),
        ):
            row = await connection.fetchrow(
                "SELECT id, name, version, dense_weight FROM collections WHERE id = $1", collection
            )
            if row is None:
                return None
            changed = await connection.fetch(
                "SELECT id, source, subject, class_level FROM documents WHERE collection_id = $1 AND version > $2",
                collection,
                since,
            )
            living = await connection.fetchval(
                "SELECT coalesce(string_agg(uuid_send(id), ''), '') FROM documents WHERE collection_id = $1",
                collection,
            )
            chunks = [part async for part in _chunks(connection, [document[0] for document in changed], vectors)]
        ids = await asyncio.to_thread(_ids, living)
        return Changes(Collection(*row), [DocumentRow(*document) for document in changed], ids, chunks)


async def _claim(connection: Connection, collection: UUID, document: NewDocument) -> UUID | None:
    """Write the document's row, which keeps other writers of this source out; None if it is there unchanged."""
    claimed: UUID | None = await connection.fetchval(
        """INSERT INTO documents (id, collection_id, source, title, subject, class_level, content_hash, attributes,
                                  chunk_count, token_count, version)
           VALUES ($1, $2, $3, $4, $5, $6, $7, $8::jsonb, 0, 0, 0)
           ON CONFLICT (collection_id, source) DO UPDATE
           SET title = excluded.title, subject = excluded.subject, class_level = excluded.class_level,
               content_hash = excluded.content_hash, attributes = excluded.attributes, updated_at = now()
           WHERE documents.content_hash IS DISTINCT FROM excluded.content_hash
           RETURNING id""",
        uuid7(),
        collection,
        document.source,
        document.title,
        document.subject,
        document.class_level,
        document.content_hash,
        json.dumps(dict(document.attributes)),
    )
    return claimed


async def _raise_version(connection: Connection, collection: UUID) -> int:
    version: int = await connection.fetchval(
        "UPDATE collections SET version = version + 1 WHERE id = $1 RETURNING version", collection
    )
    return version


class _Counted:
    """Chunks as rows for COPY, counted on their way."""

    def __init__(self, chunks: AsyncIterable[NewChunk], document_id: UUID, collection: UUID) -> None:
        self._chunks, self._document_id, self._collection = chunks, document_id, collection
        self.chunks = self.tokens = 0

    async def records(self) -> AsyncIterator[tuple[Any, ...]]:
        async for chunk in self._chunks:
            self.chunks += 1
            self.tokens += chunk.token_count
            yield (
                uuid7(),
                self._document_id,
                self._collection,
                chunk.ordinal,
                chunk.heading,
                chunk.text,
                chunk.token_count,
                chunk.embedding,
                chunk.token_vectors.tobytes(),
            )


async def _chunks(connection: Connection, documents: Sequence[UUID], vectors: bool) -> AsyncIterator[ChunkRows]:
    # The binary form is fetched and read by numpy: a decoder would make a Python object of every vector.
    embedding = "vector_send(embedding)" if vectors else "NULL::bytea"
    query = f"""SELECT id, document_id, heading, text, {embedding} FROM chunks
                WHERE document_id = ANY($1::uuid[]) ORDER BY document_id, ordinal"""  # noqa: S608
    cursor = await connection.cursor(query, list(documents))
    while rows := await cursor.fetch(_ROWS_AT_ONCE):
        columns = list(zip(*rows, strict=True))
        matrix = _vectors(columns[4]) if vectors else np.empty((len(rows), 0), dtype=np.float32)
        yield ChunkRows(list(columns[0]), list(columns[1]), list(columns[2]), list(columns[3]), matrix)


def _vectors(sent: Sequence[bytes]) -> NDArray[np.float32]:
    """Vectors in pgvector's binary form (two 16-bit numbers, then big-endian float32) as float32 [n, 384]."""
    raw = np.frombuffer(b"".join(sent), dtype=np.dtype([("head", ">i2", 2), ("values", ">f4", DIMENSIONS)]))
    return np.ascontiguousarray(raw["values"], dtype=np.float32)


def _ids(sent: bytes) -> set[UUID]:
    return {UUID(bytes=sent[at : at + 16]) for at in range(0, len(sent), 16)}
