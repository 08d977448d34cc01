import asyncio
from typing import Any

import pytest

from deployments.protocols import CallerHealth
from deployments.provider_caller.catalogue import Catalogue
from deployments.provider_caller.config import ProviderCallerConfig
from kit.postgres import Databases
from kit.redis import redis_client
from serve_app.context.service import ContextService
from serve_app.health.repository import HealthRepository
from serve_app.health.service import HealthService

CLOSED = "127.0.0.1:9"


class Caller:
    """A provider caller that says what a test sets."""

    found = CallerHealth()

    async def health(self) -> CallerHealth:
        return self.found


@pytest.fixture
def health(services: Any) -> Any:
    """Makes a health service over servers that may not be there."""

    def make(database: str = "", redis: str = "", **config: Any) -> HealthService:
        databases = Databases(database or services.database_url, 4)
        context = ContextService(databases, embedder=None, retriever=None, reranker=None, candidates=1)  # type: ignore[arg-type]
        catalogue = Catalogue(ProviderCallerConfig(**config))
        cache = redis_client(redis or services.redis_url)
        return HealthService(HealthRepository(databases), cache, catalogue, context, Caller())  # type: ignore[arg-type]

    return make


async def test_the_short_forms_need_no_key(api: Any) -> None:
    for path in ("/health", "/health/live", "/health/ready"):
        response = await api.client.get(path, headers={"authorization": ""})
        assert response.status_code == 200, response.text
    report = (await api.client.get("/health")).json()
    assert report.keys() == {"status", "version", "timestamp"}
    assert report["status"] == "healthy"


@pytest.mark.parametrize("path", ["/health/detailed", "/api/health", "/api/v1/ai-tutor/health"])
async def test_the_detailed_form_names_every_component(api: Any, path: str) -> None:
    await api.write("rain.md", "Rain.")
    response = await api.client.get(path, headers={"authorization": ""})
    assert response.status_code == 200
    report = response.json()
    assert report["components"].keys() == {"database", "redis", "vector_store", "local", "limits", "ledger"}
    assert report["components"]["database"].keys() == {"status", "latency_ms"}
    assert report["components"]["vector_store"]["documents"] >= 0
    assert report["uptime_seconds"] >= 0


async def test_documents_are_counted(api: Any, health: Any) -> None:
    await api.write("rain.md", "Rain.")
    assert (await health().detailed()).components["vector_store"].documents >= 1


async def test_a_lost_redis_degrades(health: Any) -> None:
    report = await health(redis=f"redis://{CLOSED}/0").detailed()
    assert report.status == "degraded"
    assert report.components["redis"].status == "unhealthy"
    assert report.components["redis"].message == "Redis cannot be reached now."


async def test_a_lost_database_is_unhealthy_and_a_new_replica_is_not_ready(health: Any) -> None:
    service = health(database=f"postgresql://x:secret@{CLOSED}/control")
    report = await service.detailed()
    assert report.status == "unhealthy"
    assert report.components["vector_store"].status == "unhealthy"
    assert "secret" not in report.model_dump_json()
    assert not await service.ready()


async def test_each_configured_provider_is_reported_as_it_is(health: Any) -> None:
    server = await asyncio.start_server(lambda _, writer: writer.close(), "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    async with server:
        settings = {"compatible_models": ["m"], "compatible_base_url": f"http://127.0.0.1:{port}/v1"}
        report = await health(**settings, base_urls={"openai": f"http://{CLOSED}/v1"}).detailed()
    assert report.components["compatible"].status == "healthy"
    assert report.components["compatible"].models == 1
    assert report.components["openai"].status == "unhealthy"
    assert report.status == "degraded"


async def test_metrics_are_open_to_listed_addresses_only(api: Any, run_api: Any) -> None:
    response = await api.client.get("/metrics", headers={"authorization": ""})
    assert response.text == "penstock_up 1\n"
    assert response.headers["content-type"].startswith("text/plain")
    async with run_api(metrics_allow=[]) as closed:
        assert (await closed.client.get("/metrics", headers={"authorization": ""})).status_code == 401
        assert (await closed.client.get("/metrics")).status_code == 200


async def test_what_the_provider_caller_finds_is_said(health: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    found = CallerHealth(limits="Redis is lost.", ledger="3 rows wait.")
    monkeypatch.setattr(Caller, "found", found)
    report = await health().detailed()
    assert report.status == "degraded"
    assert (report.components["limits"].status, report.components["limits"].message) == ("degraded", "Redis is lost.")
    assert (report.components["ledger"].status, report.components["ledger"].message) == ("degraded", "3 rows wait.")


async def test_a_provider_that_fails_is_degraded_though_its_server_accepts_connections(
    health: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    server = await asyncio.start_server(lambda *_: None, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    monkeypatch.setattr(Caller, "found", CallerHealth(providers={"openai": "It has been failing."}))
    report = await health(base_urls={"openai": f"http://127.0.0.1:{port}/v1"}).detailed()
    server.close()
    assert report.components["openai"].status == "degraded"
    assert report.components["openai"].message == "It has been failing."
