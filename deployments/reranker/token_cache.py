"""Token vectors kept in memory: the least recently used go first when the space is spent."""

from collections import OrderedDict
from uuid import UUID

from deployments.reranker.late_interaction import Int8Vectors

Key = tuple[str, UUID]
"""Tenant and chunk. A chunk's content never changes under its id, so an entry never becomes wrong."""

ENTRY_OVERHEAD = 400
"""Bytes that an entry takes beside its vectors: array header, key, links."""


class TokenCache:
    """Bounded by bytes, not by entries: passages differ in length."""

    def __init__(self, max_bytes: int) -> None:
        self._max_bytes = max_bytes
        self._entries: OrderedDict[Key, Int8Vectors] = OrderedDict()
        self.size = 0
        """Bytes held."""

    def get(self, key: Key) -> Int8Vectors | None:
        """The chunk's vectors, int8 [t, d], or None where they are not held."""
        vectors = self._entries.get(key)
        if vectors is not None:
            self._entries.move_to_end(key)
        return vectors

    def put(self, key: Key, vectors: Int8Vectors) -> None:
        """Hold the vectors; what is larger than the entire space is not held."""
        self._remove(key)
        cost = vectors.nbytes + ENTRY_OVERHEAD
        if cost > self._max_bytes:
            return
        self._entries[key] = vectors
        self.size += cost
        while self.size > self._max_bytes:
            self._remove(next(iter(self._entries)))

    def _remove(self, key: Key) -> None:
        vectors = self._entries.pop(key, None)
        if vectors is not None:
            self.size -= vectors.nbytes + ENTRY_OVERHEAD
