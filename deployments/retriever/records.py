"""What the store reads and writes, row by row."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any
from uuid import UUID

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True, slots=True)
class Collection:
    """A named set of documents. dense_weight: of the vector score in convex fusion."""

    id: UUID
    name: str
    version: int
    dense_weight: float


@dataclass(frozen=True, slots=True)
class CollectionSummary:
    """A collection and how much is in it."""

    collection: Collection
    documents: int
    chunks: int


@dataclass(frozen=True, slots=True)
class NewDocument:
    """What is written of a document besides its chunks. source: names it within its collection."""

    source: str
    title: str
    content_hash: bytes
    subject: str | None
    class_level: str | None
    attributes: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class NewChunk:
    """embedding: float32 [384], L2-normalised. token_vectors: int8 [t, 384], the normalised values times 127."""

    ordinal: int
    heading: str
    text: str
    token_count: int
    embedding: NDArray[np.float32]
    token_vectors: NDArray[np.int8]


@dataclass(frozen=True, slots=True)
class DocumentRow:
    """A document as the index needs it."""

    id: UUID
    source: str
    subject: str | None
    class_level: str | None


@dataclass(frozen=True, slots=True)
class ChunkRows:
    """Some chunks as the index needs them. vectors: float32 [n, 384]."""

    ids: list[UUID]
    documents: list[UUID]
    headings: list[str]
    texts: list[str]
    vectors: NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class Changes:
    """What was committed to a collection after some version. documents: those that are new or replaced, with all of
    their chunks. living: every document that is there."""

    collection: Collection
    documents: list[DocumentRow]
    living: set[UUID]
    chunks: list[ChunkRows]


@dataclass(frozen=True, slots=True)
class PassageRow:
    """A chunk with what is quoted about it."""

    chunk_id: UUID
    document_id: UUID
    title: str
    source: str
    subject: str | None
    class_level: str | None
    heading: str
    text: str
