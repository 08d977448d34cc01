from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from deployments.embedder.config import EmbedderConfig
from deployments.embedder.export import ensure_model
from deployments.embedder.model import OnnxEmbedder
from deployments.embedder.stage import EmbedderStage


@pytest.fixture(scope="session")
def int8(model_home: Path) -> OnnxEmbedder:
    return OnnxEmbedder(ensure_model(model_home, "int8"), threads=1)


@pytest.fixture(scope="session")
def fp32(model_home: Path) -> OnnxEmbedder:
    return OnnxEmbedder(ensure_model(model_home, "fp32"), threads=1)


@pytest.fixture
async def stage(model_home: Path) -> AsyncIterator[EmbedderStage]:
    stage = EmbedderStage(EmbedderConfig(max_batch_tokens=256), model_home)
    await stage.start()
    yield stage
    await stage.close()
