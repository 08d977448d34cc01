"""One real platform for all cluster tests, in front of the mock upstream."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from load.mock_process import MockProcess, mock_upstream
from tests.cluster.process import MODEL, Platform, remove, start


@pytest.fixture(scope="session")
def mock() -> Iterator[MockProcess]:
    """The provider behind the platform."""
    with mock_upstream(tokens=30, token_interval_ms=20) as running:
        yield running


@pytest.fixture(scope="session")
def platform(mock: MockProcess, model_home: Path) -> Iterator[Platform]:
    """One platform for all tests that do not break it, with the sample lessons in it."""
    running = start(
        models=model_home / "models",
        PENSTOCK_PROVIDER_CALLER__COMPATIBLE_BASE_URL=mock.base_url,
        PENSTOCK_PROVIDER_CALLER__COMPATIBLE_MODELS=MODEL,
    )
    try:
        yield running.wait_ready()
    finally:
        remove(running)
