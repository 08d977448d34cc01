"""Answers in process what needs no sentence vector; asks the Router stage for the rest.

It holds the same state as the stage: a named model, a question that a rule or its words settle, and experiments on
either cost no hop.
"""

from collections.abc import Sequence
from pathlib import Path

from deployments.measure import measured
from deployments.protocols import Account, ModelInfo, Route, Router, RouteRequest
from deployments.provider_caller.catalogue import ProviderState
from deployments.router.classifier import WordClassifier
from deployments.router.classify import at_once, by_words
from deployments.router.config import RouterConfig
from deployments.router.decide import decide, is_auto, models
from deployments.router.examples import EXAMPLES, load_examples
from deployments.router.policy import load_policy
from deployments.router.record import record
from deployments.router.state import ProvidersOf, ReadSpeeds, RoutingState, no_providers
from kit.postgres import Databases


class RouterClient:
    """Implements Router beside its callers. `remote` is asked for questions with a vector only. Raises SetupError
    where the policy table or the examples are wrong. For the other arguments see RoutingState."""

    def __init__(
        self,
        remote: Router,
        config: RouterConfig,
        providers: Sequence[ProviderState],
        *,
        databases: Databases | None = None,
        read_speeds: ReadSpeeds | None = None,
        providers_of: ProvidersOf = no_providers,
        examples: Path = EXAMPLES,
    ) -> None:
        self._remote = remote
        self._state = RoutingState(
            load_policy(config.policy),
            providers,
            databases=databases,
            read_speeds=read_speeds,
            providers_of=providers_of,
        )
        self._words = WordClassifier(load_examples(examples))

    async def start(self) -> None:
        """Load what tenants have set."""
        await self._state.start()

    async def close(self) -> None:
        """Stop refreshing it."""
        await self._state.close()

    def needs_vector(self, request: RouteRequest) -> bool:
        """Whether the question's sentence vector would help: not for a model that is named, nor where the caller, a
        rule or the words alone settle the operation type."""
        return is_auto(request.model) and bool(request.question.strip()) and at_once(request, self._words) is None

    def variant(self, account: Account) -> str:
        """See RouterInProcess.variant."""
        return self._state.variant(account)

    async def route(self, request: RouteRequest) -> Route:
        """The model for a question; see Router.route."""
        if request.vector is not None and self.needs_vector(request):
            return await self._remote.route(request)
        return await self.route_here(request)

    @measured("router")
    async def route_here(self, request: RouteRequest) -> Route:
        """The route without a vector."""
        state = self._state
        finding = by_words(request, self._words, state.policy.default_operation)
        decision = decide(request, finding, state.view(request.account.tenant))
        record(decision)
        return decision.route

    @measured("router")
    async def models(self, tenant: str) -> tuple[ModelInfo, ...]:
        """Every model that the tenant may name."""
        return models(self._state.view(tenant))
