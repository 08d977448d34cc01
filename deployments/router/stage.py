"""The router: operation type by rules and classifiers, model by policy, arms of experiments by the caller's hash."""

from collections.abc import Sequence
from pathlib import Path

from deployments.measure import measured
from deployments.protocols import Account, Embedder, ModelInfo, Route, RouteRequest
from deployments.provider_caller.catalogue import ProviderState
from deployments.router.classifier import Classifier, WordClassifier
from deployments.router.classify import Finding, at_once, by_vector, by_words
from deployments.router.config import RouterConfig
from deployments.router.decide import decide, is_auto, models
from deployments.router.examples import EXAMPLES, load_examples
from deployments.router.policy import load_policy
from deployments.router.record import record
from deployments.router.state import ProvidersOf, ReadSpeeds, RoutingState, no_providers
from kit.postgres import Databases


class RouterStage:
    """Implements Router. Raises SetupError where the policy table or the examples are wrong.

    For `databases`, `read_speeds` and `providers_of` see RoutingState.
    """

    def __init__(
        self,
        config: RouterConfig,
        embedder: Embedder,
        providers: Sequence[ProviderState],
        *,
        databases: Databases | None = None,
        read_speeds: ReadSpeeds | None = None,
        providers_of: ProvidersOf = no_providers,
        examples: Path = EXAMPLES,
    ) -> None:
        self._state = RoutingState(
            load_policy(config.policy),
            providers,
            databases=databases,
            read_speeds=read_speeds,
            providers_of=providers_of,
        )
        self._embedder = embedder
        self._examples = load_examples(examples)
        self._words = WordClassifier(self._examples)
        self._classifier: Classifier | None = None

    async def start(self) -> None:
        """Embed the labelled examples, and load what tenants have set."""
        await self._state.start()
        self._classifier = await Classifier.embedded(self._words, self._examples, self._embedder)

    async def close(self) -> None:
        """Stop refreshing it."""
        await self._state.close()

    def needs_vector(self, request: RouteRequest) -> bool:
        """See RouterClient.needs_vector."""
        return is_auto(request.model) and bool(request.question.strip()) and at_once(request, self._words) is None

    def variant(self, account: Account) -> str:
        """See RouterInProcess.variant."""
        return self._state.variant(account)

    @measured("router")
    async def route(self, request: RouteRequest) -> Route:
        """The model for a question; see Router.route."""
        decision = decide(request, self._finding(request), self._state.view(request.account.tenant))
        record(decision)
        return decision.route

    @measured("router")
    async def models(self, tenant: str) -> tuple[ModelInfo, ...]:
        """Every model that the tenant may name, its own included."""
        return models(self._state.view(tenant))

    def _finding(self, request: RouteRequest) -> Finding:
        default = self._state.policy.default_operation
        if request.vector is None or self._classifier is None or not is_auto(request.model):
            return by_words(request, self._words, default)
        return at_once(request, self._words) or by_vector(request, self._classifier, default)
