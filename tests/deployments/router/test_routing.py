from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from deployments.protocols import Account, ModelInfo, Route, RouteRequest
from deployments.provider_caller.catalogue import ProviderState
from deployments.router.client import RouterClient
from deployments.router.config import RouterConfig
from deployments.router.stage import RouterStage
from kit.errors import NotFoundError, UnavailableError

Providers = Callable[..., tuple[ProviderState, ...]]

CONFIG = RouterConfig(neighbours=2)
LOCAL = ("local", "local/extractive")


def ask(model: str = "auto", question: str = "Who wrote Hamlet?", **more: Any) -> RouteRequest:
    return RouteRequest(Account("t"), model, question, **more)


class Unreachable:
    """A router that must not be asked."""

    async def route(self, request: RouteRequest) -> Route:
        raise AssertionError("took a hop")

    async def models(self, tenant: str) -> tuple[ModelInfo, ...]:
        raise AssertionError("took a hop")


@pytest.fixture(params=["stage", "client"])
def router(request: Any, embedder: Any, examples: Path) -> Callable[[tuple[ProviderState, ...]], Any]:
    """The stage and its client: what both answer, they answer alike."""

    def build(states: tuple[ProviderState, ...]) -> Any:
        if request.param == "client":
            return RouterClient(Unreachable(), CONFIG, states)
        return RouterStage(CONFIG, embedder, states, examples=examples)

    return build


async def test_a_named_model_goes_to_its_provider(router: Any, providers: Providers) -> None:
    route = await router(providers("openai")).route(ask("gpt-6-luna"))
    assert (route.provider, route.model, route.fallbacks) == ("openai", "gpt-6-luna", ())
    assert route.reason == "The model was requested by name."
    assert route.operation == "factual"


async def test_a_model_may_be_named_with_its_provider(router: Any, providers: Providers) -> None:
    route = await router(providers("groq")).route(ask("groq/openai/gpt-oss-20b"))
    assert (route.provider, route.model) == ("groq", "openai/gpt-oss-20b")


async def test_a_model_that_two_servers_offer_goes_to_the_available_one(router: Any, providers: Providers) -> None:
    route = await router(providers(compatible=["gpt-4o"])).route(ask("gpt-4o"))
    assert route.provider == "compatible"


async def test_an_unknown_model_is_not_found_and_the_available_ones_are_listed(
    router: Any, providers: Providers
) -> None:
    with pytest.raises(NotFoundError, match=r"gpt-6-luna.*local") as caught:
        await router(providers("openai")).route(ask("gpt-9"))
    assert "claude-opus-5-5" not in caught.value.message


async def test_a_known_model_without_a_key_names_the_variable(router: Any, providers: Providers) -> None:
    with pytest.raises(UnavailableError, match="ANTHROPIC_API_KEY") as caught:
        await router(providers("openai")).route(ask("claude-opus-5-5"))
    assert caught.value.should_retry is False


async def test_local_may_be_named(router: Any, providers: Providers) -> None:
    route = await router(providers()).route(ask("local", grounded=True))
    assert (route.provider, route.model) == LOCAL


async def test_every_model_is_listed_with_its_state_and_price(router: Any, providers: Providers) -> None:
    models = {model.id: model for model in await router(providers("openai")).models("t")}
    assert {"auto", "auto:cost", "auto:speed", "auto:quality", "local"} <= set(models)
    assert models["gpt-6-luna"] == ModelInfo("gpt-6-luna", "openai", 1050000, 100, 500, True)
    assert not models["claude-opus-5-5"].available
    assert models["sonar"].input_price is None


async def test_the_client_asks_the_stage_for_auto_only(embedder: Any, examples: Path, providers: Providers) -> None:
    states = providers("openai")
    stage = RouterStage(CONFIG, embedder, states, examples=examples)
    client = RouterClient(stage, CONFIG, states)
    assert await client.route(ask()) == await stage.route(ask())


@pytest.fixture
def stage(embedder: Any, examples: Path) -> Callable[[tuple[ProviderState, ...]], RouterStage]:
    return lambda states: RouterStage(CONFIG, embedder, states, examples=examples)


async def test_the_first_available_model_of_the_operation_wins_and_the_rest_follow(
    stage: Any, providers: Providers
) -> None:
    route = await stage(providers("anthropic", "google")).route(ask(question="Prove that 2 is prime"))
    assert (route.provider, route.model) == ("anthropic", "claude-opus-5-5")
    assert route.fallbacks == (("google", "gemini-3.1-pro-preview"),)
    assert route.operation == "reasoning"
    assert route.reason.startswith("The question asks for a proof")
    assert route.reason.count(".") - route.model.count(".") == 1, "one sentence"


async def test_local_is_the_last_fallback_of_a_grounded_question(stage: Any, providers: Providers) -> None:
    assert (await stage(providers("openai")).route(ask(grounded=True))).fallbacks[-1] == LOCAL
    assert LOCAL not in (await stage(providers("openai")).route(ask())).fallbacks


async def test_without_any_provider_a_grounded_question_is_answered_by_quoting(
    stage: Any, providers: Providers
) -> None:
    route = await stage(providers()).route(ask(grounded=True))
    assert (route.provider, route.model) == LOCAL
    assert "quoted" in route.reason


async def test_without_any_provider_other_questions_say_which_variables_to_set(
    stage: Any, providers: Providers
) -> None:
    with pytest.raises(UnavailableError) as caught:
        await stage(providers()).route(ask())
    assert caught.value.should_retry is False
    for name in ("OPENAI_API_KEY", "GROQ_API_KEY", "PENSTOCK_PROVIDER_CALLER__COMPATIBLE_BASE_URL"):
        assert name in caught.value.message


async def test_cost_takes_the_cheapest_known_price(stage: Any, providers: Providers) -> None:
    route = await stage(providers("anthropic", "groq", compatible=["own"])).route(ask("auto:cost"))
    assert (route.provider, route.model) == ("anthropic", "claude-haiku-5-5")
    assert route.fallbacks[-1] == ("compatible", "own"), "a price nobody knows is not the cheapest"


@pytest.mark.parametrize(
    ("policy", "model"), [("auto:speed", "openai/gpt-oss-20b"), ("auto:quality", "claude-opus-5-5")]
)
async def test_speed_and_quality_have_lists_of_their_own(
    stage: Any, providers: Providers, policy: str, model: str
) -> None:
    assert (await stage(providers("groq", "anthropic")).route(ask(policy))).model == model


async def test_an_unknown_policy_is_an_unknown_model(stage: Any, providers: Providers) -> None:
    with pytest.raises(NotFoundError, match="auto:cost"):
        await stage(providers("openai")).route(ask("auto:beauty"))


async def test_the_nearest_examples_decide_where_no_rule_is_sure(
    stage: Any, providers: Providers, embedder: Any
) -> None:
    router = stage(providers("openai"))
    await router.start()
    question = "salt solutions"
    vector = (await embedder.embed([question])).sentences[0]
    route = await router.route(ask(question=question, vector=vector))
    assert route.operation == "curriculum"
    assert "curriculum examples" in route.reason


async def test_a_sure_rule_comes_before_the_examples(stage: Any, providers: Providers, embedder: Any) -> None:
    router = stage(providers("openai"))
    await router.start()
    question = "quiz me on salt solutions"
    vector = (await embedder.embed([question])).sentences[0]
    assert (await router.route(ask(question=question, vector=vector))).operation == "practice"


async def test_far_from_every_example_hints_and_then_the_default_decide(
    stage: Any, providers: Providers, embedder: Any
) -> None:
    router = stage(providers("openai"))
    await router.start()
    vector = (await embedder.embed(["zebras"])).sentences[0]
    assert (await router.route(ask(question="Who are zebras?", vector=vector))).operation == "factual"
    assert (await router.route(ask(question="zebras", vector=vector))).operation == "chat"


async def test_without_a_vector_the_rules_decide_alone(stage: Any, providers: Providers, embedder: Any) -> None:
    router = stage(providers("openai"))
    await router.start()
    embedder.texts.clear()
    assert (await router.route(ask(question="salt solutions"))).operation == "chat"
    assert embedder.texts == []


async def test_examples_are_embedded_once(stage: Any, providers: Providers, embedder: Any) -> None:
    router = stage(providers("openai"))
    await router.start()
    assert len(embedder.texts) == 4
