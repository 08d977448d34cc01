"""Settings of the embedder stage."""

from typing import Literal

from pydantic import Field

from kit.settings import Section

DIMENSIONS = 384
"""Of every sentence and token vector."""


class EmbedderConfig(Section):
    """How texts become vectors."""

    precision: Literal["int8", "fp32"] = Field("int8", description="Weights of the ONNX model.")
    threads: int = Field(1, ge=1, le=64, description="ONNX Runtime threads of one replica.")
    max_batch_size: int = Field(32, ge=1, le=1024, description="Texts that go through the model together at most.")
    max_batch_tokens: int = Field(
        512, ge=1, le=1_000_000, description="Tokens, padding included, that go through the model together at most."
    )
    max_texts: int = Field(2048, ge=1, le=1_000_000, description="Texts of one request; more are refused.")
    max_text_characters: int = Field(200_000, ge=1, description="Characters of one text; longer ones are refused.")
    batch_wait_ms: float = Field(0.0, ge=0, le=100, description="How long a batch waits for company when idle.")
    use_local: bool = Field(True, description="False: embeddings come from the provider named by `remote_provider`.")
    remote_provider: str = Field("openai", description="Provider of embeddings when `use_local` is false.")
    remote_model: str = Field("text-embedding-3-small", description="Its embedding model (asked for 384 dimensions).")
