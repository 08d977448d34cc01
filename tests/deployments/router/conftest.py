"""Providers of which each test says which are available, and an embedder that counts words."""

from collections.abc import Callable, Sequence
from pathlib import Path
from zlib import crc32

import numpy as np
import orjson
import pytest

from deployments.protocols import Embeddings
from deployments.provider_caller.catalogue import Catalogue, ProviderState
from deployments.provider_caller.config import ProviderCallerConfig
from kit.words import terms


class WordEmbedder:
    """Texts that share words are close: enough to tell labelled examples apart."""

    def __init__(self) -> None:
        self.texts: list[str] = []

    async def embed(self, texts: Sequence[str], *, tokens: bool = False) -> Embeddings:
        self.texts += texts
        vectors = np.zeros((len(texts), 256), dtype=np.float32)
        for row, text in enumerate(texts):
            for term in terms(text):
                vectors[row, crc32(term.encode()) % 256] += 1
        norms = np.linalg.norm(vectors, axis=1, keepdims=True)
        return Embeddings(vectors / np.maximum(norms, 1e-9), (0,) * len(texts))


@pytest.fixture
def embedder() -> WordEmbedder:
    return WordEmbedder()


@pytest.fixture
def providers() -> Callable[..., tuple[ProviderState, ...]]:
    """States of the shipped providers: those named have a key; `compatible` lists models of the operator's server."""

    def build(*with_key: str, compatible: Sequence[str] = ()) -> tuple[ProviderState, ...]:
        own = {"compatible_base_url": "http://gpu/v1", "compatible_models": list(compatible)} if compatible else {}
        config = {"keys": dict.fromkeys(with_key, "k"), **own}
        return Catalogue(ProviderCallerConfig.model_validate(config)).states()

    return build


@pytest.fixture
def examples(tmp_path: Path) -> Path:
    """Few enough to see what follows from them; nothing that a rule knows."""
    lines = {
        "curriculum": ["dissolve salt in water like that", "salt and water solutions like that", "water like that"],
        "code": ["my loop over a list crashes", "my loop over a dictionary", "a loop over a list"],
    }
    file = tmp_path / "examples.jsonl"
    rows = [{"text": text, "operation": operation} for operation, texts in lines.items() for text in texts]
    file.write_bytes(b"\n".join(map(orjson.dumps, rows)) + b"\n")
    return file
