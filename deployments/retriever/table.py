"""Which chunks a snapshot holds, by row, and which rows a filter leaves."""

from collections.abc import Mapping, Sequence
from functools import cached_property
from uuid import UUID

import numpy as np
from numpy.typing import NDArray

from deployments.retriever.records import DocumentRow
from kit.errors import ValidationError

Rows = NDArray[np.intp]
"""intp [m]: positions of chunks in a snapshot."""

FILTERS = ("subject", "class_level", "document_id", "source")


def check_filters(filters: Mapping[str, str]) -> None:
    """Raises ValidationError for a field that cannot be filtered by."""
    unknown = sorted(set(filters) - set(FILTERS))
    if unknown:
        allowed = f"Allowed: {', '.join(FILTERS)}."
        raise ValidationError(
            f"Passages cannot be filtered by {', '.join(unknown)}. {allowed}",
            details={f"filters.{field}": [f"Unknown filter. {allowed}"] for field in unknown},
        )


class ChunkTable:
    """chunk_ids: one a row. document_of: int32 [n], the position in `documents` of each row's document."""

    def __init__(
        self, chunk_ids: Sequence[UUID], document_of: NDArray[np.int32], documents: Sequence[DocumentRow]
    ) -> None:
        self.chunk_ids = chunk_ids
        self.document_of = document_of
        self.documents = documents

    def __len__(self) -> int:
        return len(self.chunk_ids)

    def matching(self, filters: Mapping[str, str]) -> Rows | None:
        """The rows of documents that have all these values, ascending; None when there is no filter."""
        if not filters:
            return None
        keep = np.ones(len(self.documents), dtype=bool)
        for field, value in filters.items():
            having = np.zeros(len(self.documents), dtype=bool)
            having[self._positions[field].get(value, [])] = True
            keep &= having
        return np.flatnonzero(keep[self.document_of])

    def documents_of(self, rows: Rows) -> list[UUID]:
        """The documents that these rows belong to, each once."""
        return [self.documents[position].id for position in np.unique(self.document_of[rows])]

    @cached_property
    def row_of(self) -> Mapping[UUID, int]:
        """The row of each chunk."""
        return {chunk_id: row for row, chunk_id in enumerate(self.chunk_ids)}

    @cached_property
    def _positions(self) -> Mapping[str, Mapping[str, list[int]]]:
        positions: dict[str, dict[str, list[int]]] = {field: {} for field in FILTERS}
        for position, document in enumerate(self.documents):
            values = (document.subject, document.class_level, str(document.id), document.source)
            for field, value in zip(FILTERS, values, strict=True):
                if value is not None:
                    positions[field].setdefault(value, []).append(position)
        return positions
