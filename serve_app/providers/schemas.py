"""Models and embeddings as clients see them."""

from datetime import datetime
from typing import Any, Literal

from pydantic import BaseModel, Field, field_validator


class Model(BaseModel):
    """OpenAI's shape of a model."""

    id: str
    object: Literal["model"] = "model"
    created: int
    owned_by: str


class ModelList(BaseModel):
    """OpenAI's shape of a list."""

    object: Literal["list"] = "list"
    data: list[Model]


class AnthropicModel(BaseModel):
    """Anthropic's shape of a model. max_input_tokens: the context window, null where unknown."""

    type: Literal["model"] = "model"
    id: str
    display_name: str
    created_at: datetime
    lifecycle: Literal["active"] = "active"
    max_input_tokens: int | None
    max_tokens: int | None = None


class AnthropicPage(BaseModel):
    """Anthropic's shape of a list."""

    data: list[AnthropicModel]
    has_more: bool
    first_id: str | None
    last_id: str | None


class PageQuery(BaseModel):
    """Which part of Anthropic's list: at most one of the two ids."""

    limit: int = Field(20, ge=1, le=1000)
    after_id: str | None = None
    before_id: str | None = None


class AvailableModel(BaseModel):
    """A model with its price (dollars per million tokens, null where unknown) and its state."""

    id: str
    provider: str
    context_window: int | None
    input_price_per_million_usd: float | None
    output_price_per_million_usd: float | None
    state: Literal["available", "unavailable"]
    collection: str | None = None


class AvailableModels(BaseModel):
    """Every model that the caller may name, and whether it can be used now."""

    models: list[AvailableModel]


class EmbeddingsRequest(BaseModel):
    """OpenAI's embeddings request. Token ids are refused: they belong to another model's tokenizer."""

    input: str | list[str] = Field(description="A text, or several.")
    model: str = Field(min_length=1, max_length=200)
    encoding_format: Literal["float", "base64"] = "float"
    dimensions: int | None = None
    user: str | None = None

    @field_validator("input", mode="before")
    @classmethod
    def _texts(cls, value: Any) -> Any:
        texts = [value] if isinstance(value, str) else value
        if not isinstance(texts, list):
            raise ValueError("must be a string or an array of strings")
        if not texts:
            raise ValueError("must hold a text at least")
        for index, text in enumerate(texts):
            if isinstance(text, int | list):
                raise ValueError("must be text: token ids belong to another model's tokenizer")
            if not isinstance(text, str):
                raise ValueError(f"must hold strings only; number {index} is something else")
            if not text:
                raise ValueError(f"must hold texts that are not empty; number {index} is")
        return value

    @property
    def texts(self) -> list[str]:
        """The inputs as a list."""
        return [self.input] if isinstance(self.input, str) else self.input
