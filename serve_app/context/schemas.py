"""Documents and search as clients see them."""

from datetime import datetime
from typing import Any, Literal
from uuid import UUID

from pydantic import BaseModel, ConfigDict, Field, field_validator

MAX_QUESTION = 20_000
"""Characters."""


def without_controls(value: str) -> str:
    """Refuse control characters, which no name has and Postgres cannot hold."""
    if any(ord(character) < 32 for character in value):
        raise ValueError("must not contain control characters")
    return value


class Filters(BaseModel):
    """What a passage's document must match exactly."""

    model_config = ConfigDict(extra="forbid")

    subject: str | None = Field(None, min_length=1, max_length=200)
    class_level: str | None = Field(None, min_length=1, max_length=200)
    source: str | None = Field(None, min_length=1, max_length=1000)

    _no_controls = field_validator("subject", "class_level", "source")(
        lambda value: value if value is None else without_controls(value)
    )

    def as_mapping(self) -> dict[str, str]:
        """Those that are set."""
        return {name: value for name, value in self if value is not None}


class SearchRequest(BaseModel):
    """A search in one collection."""

    query: str = Field(min_length=1, max_length=MAX_QUESTION)
    collection: str = Field(min_length=1, max_length=200)
    k: int = Field(10, ge=1, le=100, description="Passages to return.")
    filters: Filters = Field(default_factory=Filters)
    rerank: bool = Field(True, description="False: the order of the hybrid search.")
    explain: bool = Field(False, description="True: every part of each score.")

    _no_controls = field_validator("collection")(without_controls)

    @field_validator("query")
    @classmethod
    def _says_something(cls, value: str) -> str:
        if not value.strip():
            raise ValueError("must not be blank")
        return value


class FoundPassage(BaseModel):
    """One passage, best first in its list."""

    chunk_id: UUID
    document_id: UUID
    document: str
    source: str
    heading: str
    text: str
    score: float
    scores: dict[str, float] | None = None
    subject: str | None
    class_level: str | None


class SearchResponse(BaseModel):
    """What was found, in which version of the collection."""

    collection: str
    version: int
    count: int
    results: list[FoundPassage]


class Chunk(BaseModel):
    """A passage as it is stored."""

    id: UUID
    ordinal: int
    heading: str
    text: str
    token_count: int


class Document(BaseModel):
    """A document with its chunks in order. Times are ISO 8601, UTC."""

    id: UUID
    collection: str
    title: str
    source: str
    subject: str | None
    class_level: str | None
    attributes: dict[str, Any]
    state: Literal["ready"] = "ready"
    chunk_count: int
    token_count: int
    created_at: datetime
    updated_at: datetime
    chunks: list[Chunk]
