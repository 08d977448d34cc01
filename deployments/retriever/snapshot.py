"""A collection in memory as it was at one version. Never changed: a newer version is a new snapshot."""

from dataclasses import dataclass
from uuid import UUID

import numpy as np

from deployments.protocols import Vectors
from deployments.retriever.bm25 import Bm25Index
from deployments.retriever.indexed_text import indexed_text
from deployments.retriever.records import Changes, Collection
from deployments.retriever.table import ChunkTable

_BYTES_PER_CHUNK = 150
"""Python's share: the id and its places in lists."""


@dataclass(frozen=True, slots=True)
class Snapshot:
    """matrix: float32 [n, 384], row by row the chunks of `table`; [n, 0] where Postgres searches the vectors."""

    collection: Collection
    table: ChunkTable
    matrix: Vectors
    lexical: Bm25Index
    memory: int
    """Bytes, estimated."""


def advance(previous: Snapshot | None, changes: Changes) -> Snapshot:
    """The snapshot after these changes to `previous`, which is None before the first load. CPU-bound: BM25
    scores are computed anew, since each depends on all passages."""
    changed = {document.id for document in changes.documents}
    rows: list[int] = []
    chunk_ids: list[UUID] = []
    owners: list[UUID] = []
    texts: list[str] = []
    matrices: list[Vectors] = []
    kept = []
    if previous is not None:
        table = previous.table
        stays = np.array([row.id in changes.living and row.id not in changed for row in table.documents], dtype=bool)
        kept = [row for row, stay in zip(table.documents, stays, strict=True) if stay]
        rows = np.flatnonzero(stays[table.document_of]).tolist()
        chunk_ids = [table.chunk_ids[row] for row in rows]
        owners = [table.documents[table.document_of[row]].id for row in rows]
        matrices = [previous.matrix if len(rows) == len(table) else previous.matrix[rows]]
    for chunks in changes.chunks:
        chunk_ids += chunks.ids
        owners += chunks.documents
        texts += [indexed_text(heading, text) for heading, text in zip(chunks.headings, chunks.texts, strict=True)]
        matrices.append(chunks.vectors)
    documents = [*kept, *changes.documents]
    position = {document.id: index for index, document in enumerate(documents)}
    document_of = np.array([position[owner] for owner in owners], dtype=np.int32)
    matrix = np.concatenate(matrices) if matrices else np.empty((0, 0), dtype=np.float32)
    lexical = Bm25Index.build(texts) if previous is None else previous.lexical.changed(np.array(rows, np.intp), texts)
    return Snapshot(
        collection=changes.collection,
        table=ChunkTable(chunk_ids, document_of, documents),
        matrix=matrix,
        lexical=lexical,
        memory=matrix.nbytes + lexical.nbytes + len(chunk_ids) * _BYTES_PER_CHUNK,
    )
