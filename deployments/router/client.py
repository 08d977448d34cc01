"""Answers in process what needs no thought, by the policy snapshot it holds; asks the Router stage for the rest."""

from deployments.measure import measured
from deployments.protocols import ModelInfo, Route, Router, RouteRequest
from deployments.provider_caller.catalogue import ProviderState
from deployments.router.config import RouterConfig
from deployments.router.decide import Snapshot, is_auto, models, named
from deployments.router.policy import load_policy
from deployments.router.stage import operation_by_rules


class RouterClient:
    """Implements Router beside its callers: a model that is named costs no hop. `remote` is asked for `auto` only."""

    def __init__(self, remote: Router, config: RouterConfig, providers: tuple[ProviderState, ...]) -> None:
        self._remote = remote
        self._snapshot = Snapshot(load_policy(config.policy), providers)

    async def route(self, request: RouteRequest) -> Route:
        """The model for a question; see Router.route."""
        if is_auto(request.model):
            return await self._remote.route(request)
        return await self.route_named(request)

    @measured("router")
    async def route_named(self, request: RouteRequest) -> Route:
        """The route to a model that the caller named."""
        operation = request.operation or operation_by_rules(request.question, self._snapshot)
        return named(request.model, operation, self._snapshot, grounded=request.grounded)

    @measured("router")
    async def models(self, tenant: str) -> tuple[ModelInfo, ...]:
        """Every model that the tenant may name."""
        return models(self._snapshot)
