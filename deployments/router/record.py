"""Writes decisions down: one count and one log line each, without the question."""

import structlog

from deployments.router.decide import Decision
from kit.telemetry import METRICS

DECISIONS = "penstock_route_decisions_total"

_log = structlog.get_logger("penstock.router")


def record(decision: Decision, tenant: str) -> None:
    """Count and log a decision."""
    route = decision.route
    METRICS.count(
        DECISIONS,
        operation=route.operation,
        policy=decision.policy,
        provider=route.provider,
        model=route.model,
        source=decision.source,
    )
    _log.debug(
        "routed",
        tenant=tenant,
        operation=route.operation,
        policy=decision.policy,
        source=decision.source,
        provider=route.provider,
        model=route.model,
        fallbacks=len(route.fallbacks),
        experiment=route.assignment.experiment if route.assignment else None,
        arm=route.assignment.arm if route.assignment else None,
        reason=route.reason,
    )
