"""Servers shared by the whole test run."""

import shutil
import sys
import tempfile
from collections.abc import AsyncIterator
from dataclasses import dataclass
from io import StringIO
from pathlib import Path

import hypothesis
import pytest
from redis.asyncio import Redis
from rich.console import Console

from deployments.embedder.export import ensure_model
from deployments.settings import Settings
from kit.redis import redis_client
from kit.supervisor import Supervisor
from serve_app.embedded.home import Home, open_home
from serve_app.embedded.services import start_services
from serve_app.tenants.service import ensure_platform

# A slow machine is no failure: no test is judged by the clock.
hypothesis.settings.register_profile("untimed", deadline=None)
hypothesis.settings.load_profile("untimed")


@dataclass(frozen=True)
class Services:
    """Embedded Postgres and Redis with the `default` tenant, ready to use. URLs hold passwords."""

    home: Home
    database_url: str
    """Of the control database."""
    redis_url: str
    tenant_database_url: str
    tenant_database: str
    """Name of the default tenant's database."""
    api_key: str


@pytest.fixture(scope="session")
async def services() -> AsyncIterator[Services]:
    """One Postgres and one Redis for the whole run; tests share them and use names of their own."""
    folder = Path(tempfile.mkdtemp(prefix="pst-"))
    try:
        home = open_home(folder)
        with home.lock():
            async with Supervisor(home.run, home.logs, marker=home.marker) as supervisor:
                urls = await start_services(Settings(home=folder), supervisor, home)
                platform = await ensure_platform(urls.database_url, home.secrets / "api_key")
                yield Services(
                    home=home,
                    database_url=urls.database_url,
                    redis_url=urls.redis_url,
                    tenant_database_url=platform.tenant_database_url,
                    tenant_database=platform.tenant.database_name,
                    api_key=platform.api_key,
                )
    finally:
        shutil.rmtree(folder)


@pytest.fixture(scope="session")
async def redis(services: Services) -> AsyncIterator[Redis]:
    """A client of the shared Redis; tests use keys of their own."""
    client = redis_client(services.redis_url)
    yield client
    await client.aclose()


@pytest.fixture(scope="session")
def model_home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A home with the exported model; torch cannot be imported while it is made."""
    home = tmp_path_factory.mktemp("home")
    with pytest.MonkeyPatch.context() as patched:
        patched.setitem(sys.modules, "torch", None)
        ensure_model(home, "int8", console=Console(file=StringIO()))
    return home
