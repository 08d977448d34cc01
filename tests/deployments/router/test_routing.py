"""The stage and its client, which answer alike what both can answer."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from deployments.protocols import Account, ModelInfo, Route, RouteRequest
from deployments.provider_caller.catalogue import ProviderState
from deployments.router.client import RouterClient
from deployments.router.config import RouterConfig
from deployments.router.record import DECISIONS
from deployments.router.stage import RouterStage
from kit.errors import NotFoundError, UnavailableError
from kit.telemetry import METRICS

Providers = Callable[..., tuple[ProviderState, ...]]

CONFIG = RouterConfig()
LOCAL = ("local", "local/extractive")


def ask(model: str = "auto", question: str = "loop over my list", **more: Any) -> RouteRequest:
    return RouteRequest(Account("t"), model, question, **more)


class Unreachable:
    """A router that must not be asked."""

    async def route(self, request: RouteRequest) -> Route:
        raise AssertionError("took a hop")

    async def models(self, tenant: str) -> tuple[ModelInfo, ...]:
        raise AssertionError("took a hop")


@pytest.fixture(params=["stage", "client"])
def router(request: Any, embedder: Any, examples: Path) -> Callable[[tuple[ProviderState, ...]], Any]:
    def build(states: tuple[ProviderState, ...]) -> Any:
        if request.param == "client":
            return RouterClient(Unreachable(), CONFIG, states, examples=examples)
        return RouterStage(CONFIG, embedder, states, examples=examples)

    return build


async def test_a_named_model_goes_to_its_provider(router: Any, providers: Providers) -> None:
    route = await router(providers("openai")).route(ask("gpt-4o", "Check my answer: 1 + 1 = 3"))
    assert (route.provider, route.model) == ("openai", "gpt-4o")
    assert route.reason == "The model was requested by name."
    assert route.operation == "diagnostic"


async def test_without_a_vector_rules_and_words_decide(router: Any, providers: Providers) -> None:
    here = router(providers("openai"))
    assert (await here.route(ask(question="Quiz me on loops"))).operation == "practice"
    assert (await here.route(ask(question="loop over my list"))).operation == "code"


async def test_an_unlike_question_is_taken_as_the_default(router: Any, examples: Path, providers: Providers) -> None:
    route = await router(providers("openai")).route(ask(question="zebras"))
    assert route.operation == "chat"
    assert "like no example" in route.reason


async def test_what_the_caller_says_about_the_operation_holds(router: Any, providers: Providers) -> None:
    route = await router(providers("openai")).route(ask(question="Quiz me on loops", operation="research"))
    assert route.operation == "research"
    assert route.reason.startswith("The caller asked for research; ")


async def test_every_model_is_listed(router: Any, providers: Providers) -> None:
    states = providers("openai")
    models = {model.id: model for model in await router(states).models("t")}
    assert {"auto", "auto:cost", "auto:speed", "auto:quality", "local"} <= set(models)
    assert {model.id for state in states for model in state.models} <= set(models)


async def test_an_unknown_model_is_not_found(router: Any, providers: Providers) -> None:
    with pytest.raises(NotFoundError, match="local"):
        await router(providers("openai")).route(ask("gpt-9"))


async def test_each_decision_is_counted_with_its_reason(router: Any, providers: Providers) -> None:
    here = router(providers("openai"))
    labels = {"operation": "practice", "policy": "cost", "provider": "openai", "source": "rule"}
    before = METRICS.read(DECISIONS, **labels)
    await here.route(ask("auto:cost", "Quiz me on loops"))
    assert METRICS.read(DECISIONS, **labels) == before + 1


async def test_a_refusal_is_no_decision(router: Any, providers: Providers) -> None:
    before = METRICS.read(DECISIONS)
    with pytest.raises(UnavailableError):
        await router(providers()).route(ask())
    assert METRICS.read(DECISIONS) == before


@pytest.mark.parametrize(
    ("request_", "needed"),
    [
        (ask("gpt-4o", "salt"), False),
        (ask(question="Quiz me on salt"), False),
        (ask(question="salt", operation="code"), False),
        (ask(question="   "), False),
        (ask(question="my loop over a list"), False),
        (ask(question="salt or a loop"), True),
        (ask("auto:cost", "zebras"), True),
    ],
)
async def test_a_vector_is_needed_where_nothing_else_is_sure(
    router: Any, providers: Providers, request_: RouteRequest, needed: bool
) -> None:
    assert router(providers("openai")).needs_vector(request_) is needed


async def test_the_client_asks_the_stage_where_a_vector_helps(
    embedder: Any, examples: Path, providers: Providers
) -> None:
    states = providers("openai")
    stage = RouterStage(CONFIG, embedder, states, examples=examples)
    await stage.start()
    client = RouterClient(stage, CONFIG, states, examples=examples)
    question = "salt or a loop over water"
    vector = (await embedder.embed([question])).sentences[0]
    route = await client.route(ask(question=question, vector=vector))
    assert route == await stage.route(ask(question=question, vector=vector))
    assert route.reason.startswith("The question is most like the")
    alone = RouterClient(Unreachable(), CONFIG, states, examples=examples)
    assert (await alone.route(ask("gpt-4o", question, vector=vector))).model == "gpt-4o"
    await stage.close()


async def test_the_stage_embeds_its_examples_once(embedder: Any, examples: Path, providers: Providers) -> None:
    stage = RouterStage(CONFIG, embedder, providers("openai"), examples=examples)
    await stage.start()
    assert len(embedder.texts) == 6
    await stage.route(ask(question="salt or a loop"))
    assert len(embedder.texts) == 6
    await stage.close()
