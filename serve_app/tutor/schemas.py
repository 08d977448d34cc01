"""The AI tutor's question and answer."""

from typing import Any, Literal
from uuid import UUID

from pydantic import BaseModel, Field, field_validator

from serve_app.context.schemas import MAX_QUESTION, without_controls

Operation = Literal["reasoning", "code", "research", "factual", "practice", "curriculum", "diagnostic", "chat"]

QueryType = Literal["auto", Operation]


class QueryRequest(BaseModel):
    """A question."""

    question: str = Field(min_length=1, max_length=MAX_QUESTION)
    collection: str | None = Field(
        None, min_length=1, max_length=200, description="Where to look; may be left out by a tenant with only one."
    )
    subject: str | None = Field(None, min_length=1, max_length=200, description="Only documents of this subject.")
    class_level: str | None = Field(None, min_length=1, max_length=200, description="Only documents of this level.")
    model: str = Field("auto", min_length=1, max_length=200, description="A model id, `auto` or `auto:POLICY`.")
    query_type: QueryType = Field("auto", description="What is asked for; `auto`: found by itself.")
    k: int = Field(5, ge=1, le=20, description="Passages that the answer may rest on.")
    cache: bool = Field(True, description="False: a new answer.")
    stream: bool = Field(False, description="True: server-sent events.")

    @field_validator("question")
    @classmethod
    def _says_something(cls, value: str) -> str:
        if not value.strip():
            raise ValueError("must not be blank")
        return value

    @field_validator("collection", "subject", "class_level")
    @classmethod
    def _no_controls(cls, value: str | None) -> str | None:
        return value if value is None else without_controls(value)

    def filters(self) -> dict[str, str]:
        """What a passage's document must match."""
        wanted = {"subject": self.subject, "class_level": self.class_level}
        return {name: value for name, value in wanted.items() if value is not None}


class CitationOut(BaseModel):
    """A passage that the answer rests on. number: as in the answer's `[n]`. quote: word for word from the chunk."""

    number: int
    document_id: UUID
    document: str
    source: str
    heading: str
    chunk_id: UUID
    score: float
    quote: str


class QueryResult(BaseModel):
    """How an answer came about. answered: whether the passages held an answer, null where the model does not say.
    cost_usd: null where a price is unknown."""

    answered: bool | None
    model: str
    provider: str
    cost_usd: float | None
    cache: Literal["hit", "miss", "off"]
    operation_type: str
    route_reason: str
    collection: str | None
    request_id: str
    usage: dict[str, Any] | None


class QueryResponse(QueryResult):
    """The answer with its citations."""

    answer: str
    citations: list[CitationOut]
