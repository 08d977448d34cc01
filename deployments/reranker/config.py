"""Settings of the reranker stage."""

from pydantic import Field

from kit.settings import Section


class RerankerConfig(Section):
    """How passages are put in their final order."""

    enabled: bool = Field(True, description="False: the retriever's order stands.")
    candidates: int = Field(50, ge=1, le=1000, description="Passages that are reranked.")
    weight: float = Field(0.4, ge=0, le=1, description="Weight of the late-interaction score against the fused one.")
    memory_mb: int = Field(256, ge=1, description="Token vectors kept in memory by one replica, in MB.")
