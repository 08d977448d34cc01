"""The HTTP surface over the real router and provider caller, in one process, with the simulator as every provider.

Two tenants: one falls back to Gemini for whatever is asked, the other has `failover: manual`.
"""

from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

import pytest

from deployments.provider_caller.stage import ProviderCallerStage
from deployments.router.rules import OPERATIONS
from deployments.router.tenants import TenantRouting
from deployments.settings import Settings
from kit.ids import uuid7
from kit.postgres import Databases, database_url
from load.simulator.process import SimulatorProcess, simulator
from serve_app.assembly import Assembly
from serve_app.auth import keys
from serve_app.http.app import create_app
from serve_app.tenants.migrate import create_database, migrate
from serve_app.tenants.repository import TenantRepository
from tests.faults.cases import ANSWER_TOKENS, FALLBACK, Case, Result, ask
from tests.serve_app.conftest import WordEmbedder, metrics_text, served
from tests.simulated import HASTY, PATIENT, provider_caller_settings

TIMEOUTS = {PATIENT: 30.0, HASTY: 2.0}
"""Seconds of a request; longer than three silent attempts."""
TENANTS = {True: "faultsauto", False: "faultsmanual"}
"""By whether they fall back."""


class StartedEmbedder(WordEmbedder):
    """As the assembly wants it."""

    async def start(self) -> None: ...

    async def close(self) -> None: ...


class OneProcess(Assembly):
    """All stages here, without the model of the embedder."""

    def build_embedder(self) -> Any:
        return StartedEmbedder()


@dataclass
class Product:
    """The running app. `keys`: of the tenants' administrators, by whether they fall back."""

    url: str
    keys: dict[bool, str]
    stage: ProviderCallerStage
    databases: Databases
    simulated: SimulatorProcess

    async def ask(self, *cases: Case) -> list[Result]:
        """All cases at once, each with what both sides have written down."""
        results = await ask(self.url, self.keys, cases)
        await self.stage.ledger.drain()
        bills = self.simulated.bills()
        for result in results:
            statement = "SELECT * FROM usage_ledger WHERE request_id = $1 ORDER BY attempt"
            database = self.databases.pool(f"penstock_t_{TENANTS[result.case.fallback]}")
            result.rows = [dict(row) for row in await database.fetch(statement, result.request_id)]
            result.bills = [bill for bill in bills if bill["request_id"] == result.request_id]
        return results


@pytest.fixture(scope="package")
def simulated() -> Iterator[SimulatorProcess]:
    with simulator(tokens=ANSWER_TOKENS) as running:
        yield running


@pytest.fixture(scope="package")
async def tenants(services: Any) -> dict[bool, str]:
    """Their administrators' keys."""
    databases = Databases(services.database_url, 2)
    rules = TenantRouting.model_validate({"rules": {name: [f"{FALLBACK[0]}/{FALLBACK[1]}"] for name in OPERATIONS}})
    made = {}
    for fallback, slug in TENANTS.items():
        key = keys.generate()
        async with databases.control.transaction() as connection:
            repository = TenantRepository(connection)
            tenant = await repository.ensure_tenant(slug, slug.title(), f"penstock_t_{slug}")
            user = await repository.ensure_user(tenant.id, f"{uuid7().hex}@example.com", "admin")
            await repository.add_key(tenant.id, user, "faults", key.prefix, key.hash)
            await connection.execute(
                "INSERT INTO tenant_settings (tenant_id, failover, routing) VALUES ($1, $2, $3)",
                *(tenant.id, "automatic" if fallback else "manual", rules.model_dump_json(exclude_defaults=True)),
            )
        url = database_url(services.database_url, f"penstock_t_{slug}")
        await create_database(url)
        await migrate(url, "tenant")
        made[fallback] = key.plaintext
    await databases.close()
    return made


@pytest.fixture(scope="package")
def start_product(services: Any, simulated: SimulatorProcess, tenants: dict[bool, str]) -> Any:
    """Starts an app; for the arguments see `provider_caller_settings`."""

    @asynccontextmanager
    async def start(*, silence: float = PATIENT, **of_provider_caller: Any) -> AsyncIterator[Product]:
        settings = Settings.model_validate(
            {
                "log_level": "ERROR",
                "home": services.home.path,
                "server": {"profile": "inline", "request_timeout": TIMEOUTS[silence]},
                "database": {"url": services.database_url},
                "redis": {"url": services.redis_url},
                "cache": {"enabled": False},
                "provider_caller": provider_caller_settings(simulated, silence=silence, **of_provider_caller),
            }
        )
        assembly = OneProcess(settings, {})
        app = create_app(settings, assembly.stages(), assembly.databases, assembly.redis, metrics_text)
        await assembly.start()
        try:
            async with served(app) as url:
                stage = assembly.local("provider_caller")
                yield Product(url, tenants, stage, assembly.databases, simulated)
        finally:
            await assembly.close()

    return start
