"""GET /health, its relatives, and /metrics."""

from collections.abc import Awaitable, Callable

from fastapi import APIRouter
from starlette.requests import Request
from starlette.responses import Response

from kit.errors import UnavailableError
from serve_app.health.schemas import DetailedHealth, Health
from serve_app.health.service import HealthService
from serve_app.http.context import context_of
from serve_app.http.responses import json_response
from serve_app.http.routes import new_router

DETAILED = ("/health/detailed", "/api/health", "/api/v1/ai-tutor/health")

ClusterMetrics = Callable[[], Awaitable[bytes]]


def health_router(service: HealthService, cluster_metrics: ClusterMetrics | None) -> APIRouter:
    """The endpoints over a service. cluster_metrics: Prometheus text of the whole cluster."""
    router = new_router()

    @router.get("/health", tags=["operations"], response_model=Health)
    async def health(request: Request) -> Response:
        """The overall state; 503 when unhealthy."""
        context_of(request).operation = "health"
        return _report(await service.short())

    @router.get("/health/live", tags=["operations"], response_model=None)
    async def live(request: Request) -> Response:
        """This process runs."""
        context_of(request).operation = "health"
        return json_response({"status": "alive"})

    @router.get("/health/ready", tags=["operations"], response_model=None)
    async def ready(request: Request) -> Response:
        """This replica can take requests."""
        context_of(request).operation = "health"
        if not await service.ready():
            raise UnavailableError("The database has not been reached yet.", retry_after=1)
        return json_response({"status": "ready"})

    async def detailed(request: Request) -> Response:
        """Every component with its state, latency and counts; 503 when unhealthy."""
        context_of(request).operation = "health"
        return _report(await service.detailed())

    for path in DETAILED:
        router.add_api_route(path, detailed, methods=["GET"], tags=["operations"], response_model=DetailedHealth)

    @router.get("/metrics", tags=["operations"], response_model=None)
    async def metrics(request: Request) -> Response:
        """Prometheus text of the whole cluster."""
        context_of(request).operation = "metrics"
        if cluster_metrics is None:
            raise UnavailableError("Metrics are gathered where the platform runs as a cluster.")
        return Response(await cluster_metrics(), media_type="text/plain; version=0.0.4; charset=utf-8")

    return router


def _report(health: Health) -> Response:
    return json_response(
        health.model_dump(mode="json", exclude_none=True), status=503 if health.status == "unhealthy" else 200
    )
