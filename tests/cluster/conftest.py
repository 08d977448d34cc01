"""One real platform for all cluster tests, in front of the provider simulator."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from load.simulator.process import SimulatorProcess, simulator
from tests.cluster.process import MODEL, Platform, remove, start


@pytest.fixture(scope="session")
def upstream() -> Iterator[SimulatorProcess]:
    """The provider behind the platform."""
    with simulator(tokens=30, token_interval_ms=20) as running:
        yield running


@pytest.fixture(scope="session")
def platform(upstream: SimulatorProcess, model_home: Path) -> Iterator[Platform]:
    """One platform for all tests that do not break it, with the sample lessons in it."""
    running = start(
        models=model_home / "models",
        PENSTOCK_PROVIDER_CALLER__COMPATIBLE_BASE_URL=upstream.base_url(),
        PENSTOCK_PROVIDER_CALLER__COMPATIBLE_MODELS=MODEL,
    )
    try:
        yield running.wait_ready()
    finally:
        remove(running)
