"""Counts decisions. The ingress writes each into the log line of its request, the provider caller into the ledger."""

from deployments.router.decide import Decision
from kit.telemetry import METRICS

DECISIONS = "penstock_route_decisions_total"


def record(decision: Decision) -> None:
    """Count a decision."""
    route = decision.route
    METRICS.count(
        DECISIONS,
        operation=route.operation,
        policy=decision.policy,
        provider=route.provider,
        model=route.model,
        source=decision.source,
    )
