"""The router: operation type by rules and nearest labelled examples, model by the policy table."""

from pathlib import Path

from deployments.measure import measured
from deployments.protocols import Embedder, ModelInfo, Route, RouteRequest
from deployments.provider_caller.catalogue import ProviderState
from deployments.router import rules
from deployments.router.config import RouterConfig
from deployments.router.decide import Snapshot, choose, is_auto, models, named
from deployments.router.neighbours import Neighbours, load_examples
from deployments.router.policy import ROUTING, load_policy

EXAMPLES = ROUTING / "examples.jsonl"


class RouterStage:
    """Implements Router. Raises SetupError where the policy table or the examples are wrong."""

    def __init__(
        self,
        config: RouterConfig,
        embedder: Embedder,
        providers: tuple[ProviderState, ...],
        *,
        examples: Path = EXAMPLES,
    ) -> None:
        self._config = config
        self._embedder = embedder
        self._snapshot = Snapshot(load_policy(config.policy), providers)
        self._examples = load_examples(examples)
        self._neighbours: Neighbours | None = None

    async def start(self) -> None:
        """Embed the labelled examples."""
        self._neighbours = await Neighbours.embedded(self._examples, self._embedder, self._config.neighbours)

    async def close(self) -> None:
        """Nothing is held."""

    @measured("router")
    async def route(self, request: RouteRequest) -> Route:
        """The model for a question; see Router.route."""
        if not is_auto(request.model):
            operation = request.operation or operation_by_rules(request.question, self._snapshot)
            return named(request.model, operation, self._snapshot, grounded=request.grounded)
        operation, because = self._classify(request)
        return choose(request.model, operation, because, self._snapshot, grounded=request.grounded)

    @measured("router")
    async def models(self, tenant: str) -> tuple[ModelInfo, ...]:
        """Every model that the tenant may name. All tenants may name the same ones so far."""
        return models(self._snapshot)

    def _classify(self, request: RouteRequest) -> tuple[str, str]:
        """The operation type, and the beginning of a sentence that says why."""
        if request.operation is not None:
            return request.operation, f"The caller asked for {request.operation}"
        found = rules.match(request.question)
        if found is not None and found.sure:
            return found.operation, f"The question {found.because} ({found.operation})"
        if request.vector is not None and self._neighbours is not None:
            voted = self._neighbours.vote(request.vector)
            if voted is not None:
                return voted, f"The question is most like the {voted} examples"
        if found is not None:
            return found.operation, f"The question {found.because} ({found.operation})"
        default = self._snapshot.policy.default_operation
        return default, f"The question is like no example and is taken as {default}"


def operation_by_rules(question: str, snapshot: Snapshot) -> str:
    """The operation type where the model is settled already and no one needs to be asked."""
    found = rules.match(question)
    return found.operation if found is not None else snapshot.policy.default_operation
