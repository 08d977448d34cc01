"""Settings of the retriever stage."""

from typing import Literal

from pydantic import Field

from kit.settings import Section


class RetrieverConfig(Section):
    """How passages are found."""

    vectors: Literal["memory", "pgvector"] = Field("memory", description="Where vectors are searched; both exact.")
    fusion: Literal["convex", "rrf"] = Field("convex", description="How dense and BM25 scores are combined.")
    dense_weight: float = Field(
        0.5,
        ge=0,
        le=1,
        description="Weight of the dense score in convex fusion; a collection keeps the one it was made with.",
    )
    candidates: int = Field(100, ge=1, le=10_000, description="Passages taken from each side before fusion.")
    memory_mb: int = Field(
        2048, ge=1, description="MiB of collections kept in memory; beyond it the least recently used are unloaded."
    )
