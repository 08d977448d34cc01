"""Reads token vectors from the tenant's database, where ingestion stored them beside their chunks."""

from collections.abc import Sequence
from uuid import UUID

import numpy as np

from deployments.embedder.config import DIMENSIONS
from deployments.reranker.late_interaction import Int8Vectors
from kit.postgres import Databases


class PostgresTokenVectors:
    """A TokenVectorSource over `chunks.token_vectors`."""

    def __init__(self, databases: Databases) -> None:
        self._databases = databases

    async def load(self, tenant: str, chunk_ids: Sequence[UUID]) -> list[Int8Vectors]:
        """int8 [t, 384] for each chunk, in order; empty for a chunk that is gone. One query."""
        database = self._databases.pool(f"penstock_t_{tenant}")
        rows = await database.fetch("SELECT id, token_vectors FROM chunks WHERE id = ANY($1::uuid[])", list(chunk_ids))
        stored = {row["id"]: row["token_vectors"] for row in rows}
        return [np.frombuffer(stored.get(chunk, b""), dtype=np.int8).reshape(-1, DIMENSIONS) for chunk in chunk_ids]
