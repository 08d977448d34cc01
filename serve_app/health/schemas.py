"""Health as operators and load balancers see it."""

from typing import Literal

from pydantic import BaseModel

Status = Literal["healthy", "degraded", "unhealthy"]


class Component(BaseModel):
    """One thing that answers depend on. Fields that say nothing about it are left out."""

    status: Status
    latency_ms: float | None = None
    documents: int | None = None
    chunks: int | None = None
    models: int | None = None
    message: str | None = None


class Health(BaseModel):
    """The short form. timestamp: ISO 8601, UTC."""

    status: Status
    version: str
    timestamp: str


class DetailedHealth(Health):
    """With every component: database, redis, vector_store, limits (rate limits and budgets), ledger, each configured
    provider by its id."""

    uptime_seconds: float
    components: dict[str, Component]
