"""Which model a decision names, for whom, and why. Models are made up: what is shipped is test_policy's."""

from collections.abc import Callable
from datetime import date
from typing import Any

import pytest

from deployments.protocols import Account, Assignment, ModelInfo, RouteRequest
from deployments.provider_caller.catalogue import Model, ProviderState
from deployments.provider_caller.prices import Price
from deployments.router.arms import Arm, Experiment
from deployments.router.classify import Finding
from deployments.router.decide import Decision, decide, models
from deployments.router.ordering import Speeds
from deployments.router.policy import OperationPolicy, Policy, TokenMix
from deployments.router.rules import OPERATIONS
from deployments.router.tenants import TenantModel, TenantRouting, TenantTables
from deployments.router.view import TenantView
from kit.errors import NotFoundError, UnavailableError

TODAY = date(2026, 11, 21)
LOCAL = ("local", "local/extractive")
MIX = TokenMix(input=100, output=100)
FINDING = Finding("code", "The question asks for a program (code)", "rule")
BIG, SMALL, FAST, OWN = ("a", "big"), ("a", "small"), ("b", "fast"), ("own", "llama")


def model(id: str, input: int | None, output: int | None = None) -> Model:
    if input is None:
        return Model(id=id)
    start = date(2026, 1, 1)
    price = Price.model_validate({"from": start, "input": input, "output": output or input})
    return Model(id=id, context_window=1000, prices=(price,), aliases=(f"old-{id}",))


POLICY = Policy(
    name="test",
    version="1",
    default_operation="chat",
    operations={
        name: OperationPolicy(
            models=(BIG, FAST, ("own", "*")),
            quality=(("a", "best"), BIG),
            tokens=MIX,
            instruction="Write exercises." if name == "practice" else None,
        )
        for name in OPERATIONS
    },
    speed=(FAST, SMALL),
)


def providers(*available: str) -> tuple[ProviderState, ...]:
    return (
        ProviderState("a", "Alpha", "a" in available, "set ALPHA_KEY", (model("big", 100), model("small", 1))),
        ProviderState("b", "Beta", "b" in available, "set BETA_KEY", (model("fast", 10), model("shared", 5))),
        ProviderState("own", "Own", "own" in available, "set OWN_URL", (model("llama", None), model("shared", None))),
    )


View = Callable[..., TenantView]


@pytest.fixture
def view() -> View:
    def build(*available: str, own: tuple[str, ...] = (), speeds: Speeds | None = None, **tables: Any) -> TenantView:
        tables = tables | {"routing": TenantRouting.model_validate(tables.get("routing", {}))}
        return TenantView(POLICY, providers(*available), TenantTables(**tables), frozenset(own), speeds or {}, TODAY)

    return build


def ask(model: str = "auto", *, grounded: bool = False, agent: str | None = None, user: str = "u") -> RouteRequest:
    return RouteRequest(Account("t", user, "k", agent), model, "?", grounded=grounded)


def decided(request: RouteRequest, view: TenantView, operation: str = "code") -> Decision:
    return decide(request, Finding(operation, FINDING.because, FINDING.source), view)


def test_the_first_available_model_answers_and_the_rest_follow(view: View) -> None:
    decision = decided(ask(), view("a", "b"))
    assert decision.route.targets == (BIG, FAST)
    assert (decision.policy, decision.source) == ("rules", "rule")
    assert decision.route.reason == (
        "The question asks for a program (code); big is the first available model for that."
    )
    assert decided(ask(), view("b", "own")).route.targets == (FAST, OWN, ("own", "shared"))


def test_local_is_the_last_fallback_of_a_grounded_question(view: View) -> None:
    assert decided(ask(grounded=True), view("a")).route.targets == (BIG, LOCAL)
    assert decided(ask("big", grounded=True), view("a")).route.targets == (BIG, LOCAL)


def test_without_any_provider_a_grounded_question_is_answered_by_quoting(view: View) -> None:
    route = decided(ask(grounded=True), view()).route
    assert route.targets == (LOCAL,)
    assert "quoted" in route.reason


def test_without_any_provider_other_questions_say_what_to_set(view: View) -> None:
    with pytest.raises(UnavailableError) as caught:
        decided(ask(), view())
    assert caught.value.should_retry is False
    for name in ("ALPHA_KEY", "BETA_KEY", "PENSTOCK_PROVIDER_CALLER__COMPATIBLE_BASE_URL"):
        assert name in caught.value.message


@pytest.mark.parametrize(
    ("name", "targets"),
    [
        ("auto:cost", (FAST, BIG, OWN, ("own", "shared"))),
        ("auto:speed", (FAST, SMALL, BIG, OWN, ("own", "shared"))),
        ("auto:quality", (BIG, FAST, OWN, ("own", "shared"))),
    ],
)
def test_each_policy_has_its_order(view: View, name: str, targets: tuple[tuple[str, str], ...]) -> None:
    decision = decided(ask(name), view("a", "b", "own"))
    assert decision.route.targets == targets
    assert decision.policy == name.partition(":")[2]


def test_observed_speed_changes_the_order(view: View) -> None:
    class Seen:
        def __init__(self, seconds: float) -> None:
            self.count, self.total_p50 = 50, seconds
            self.first_token_p50 = self.tokens_per_second = None

    seen: Any = {FAST: Seen(9), BIG: Seen(1), SMALL: Seen(3)}
    assert decided(ask("auto:speed"), view("a", "b", speeds=seen)).route.targets == (BIG, SMALL, FAST)


def test_an_unknown_policy_or_model_lists_what_there_is(view: View) -> None:
    for name in ("auto:beauty", "gpt-9", "b/big"):
        with pytest.raises(NotFoundError, match=r"auto:cost.*big.*local") as caught:
            decided(ask(name), view("a"))
        assert "fast" not in caught.value.message


def test_a_named_model_falls_back_on_the_models_of_the_operation(view: View) -> None:
    decision = decided(ask("fast"), view("a", "b"))
    assert decision.route.targets == (FAST, BIG)
    assert (decision.policy, decision.source) == ("named", "caller")


def test_a_model_may_be_named_with_its_provider(view: View) -> None:
    assert decided(ask("own/shared"), view("b", "own")).route.targets[0] == ("own", "shared")
    assert decided(ask("shared"), view("own")).route.targets[0] == ("own", "shared"), "the one that is available"


def test_a_model_may_be_named_by_an_alias(view: View) -> None:
    assert [decided(ask(name), view("a")).route.model for name in ("old-big", "a/old-big")] == ["big", "big"]


def test_a_known_model_without_a_key_says_what_to_set(view: View) -> None:
    with pytest.raises(UnavailableError, match="ALPHA_KEY") as caught:
        decided(ask("big"), view("b"))
    assert caught.value.should_retry is False


def test_local_may_be_named(view: View) -> None:
    assert decided(ask("local", grounded=True), view("a")).route.targets == (LOCAL,)


def test_manual_failover_means_no_fallback_at_all(view: View) -> None:
    here = view("a", "b", failover="manual")
    assert [decided(ask(name, grounded=True), here).route.fallbacks for name in ("auto", "auto:cost", "big")] == [
        ()
    ] * 3


def test_exercises_come_with_their_instruction_unless_the_model_is_named(view: View) -> None:
    assert decided(ask(), view("a"), "practice").route.instruction == "Write exercises."
    assert decided(ask(), view("a"), "code").route.instruction is None
    assert decided(ask("big"), view("a"), "practice").route.instruction is None


def test_a_tenants_own_list_is_all_that_may_answer(view: View) -> None:
    here = view("a", "b", routing={"rules": {"code": ["a/small"]}})
    route = decided(ask(), here).route
    assert route.targets == (SMALL,)
    assert route.reason.endswith("small is the first available model of your own list for that.")
    assert [decided(ask(f"auto:{name}"), here).route.targets for name in ("cost", "speed", "quality")] == [(SMALL,)] * 3
    assert decided(ask(), here, "factual").route.targets == (BIG, FAST)


def test_a_list_of_which_nothing_can_be_used_says_so(view: View) -> None:
    with pytest.raises(UnavailableError, match="your routing rules list for code"):
        decided(ask(), view("a", routing={"rules": {"code": ["b/fast"]}}))


def test_an_agent_may_have_rules_and_a_policy_of_its_own(view: View) -> None:
    routing = {
        "policy": "cost",
        "rules": {"code": ["a/small"]},
        "agents": {"bot": {"policy": "quality", "rules": {"code": ["b/fast", "a/big"]}}, "plain": {}},
    }
    here = view("a", "b", routing=routing)
    assert decided(ask(), here, "factual").policy == "cost"
    bot = decided(ask(agent="bot"), here)
    assert (bot.policy, bot.route.targets) == ("quality", (BIG, FAST))
    assert decided(ask(agent="plain"), here).route.targets == (SMALL,), "the tenant's where the agent has none"


TUNED = TenantModel("a", "ft:small:school", "curriculum", 500, 7, 9)


def test_a_tenants_fine_tuned_model_comes_first_for_its_operation(view: View) -> None:
    here = view("b", own=("a",), models=(TUNED,))
    route = decided(ask(), here, "curriculum").route
    assert route.targets[0] == ("a", "ft:small:school")
    assert route.reason.endswith("ft:small:school is your own model for that.")
    assert decided(ask(), here, "code").route.targets[0] == BIG
    assert decided(ask("ft:small:school"), here).route.provider == "a"


def test_a_tenants_model_is_reached_with_the_tenants_key_only(view: View) -> None:
    here = view("a", models=(TUNED,))
    assert decided(ask(), here, "curriculum").route.targets[0] == BIG
    with pytest.raises(UnavailableError, match="/api/integrations"):
        decided(ask("ft:small:school"), here)


def test_a_tenants_price_counts_where_its_own_key_does(view: View) -> None:
    listed = TenantModel("a", "big", None, 900, 3, 4)
    info = ModelInfo("big", "a", 900, 3, 4, True)
    assert info in models(view("a", own=("a",), models=(listed,)))
    others = [entry for entry in models(view("a", models=(listed,))) if entry.id == "big"]
    assert [(entry.input_price, entry.available) for entry in others] == [(100, True)]


def test_a_key_of_its_own_makes_a_provider_available_to_the_tenant(view: View) -> None:
    assert decided(ask(), view(own=("b",))).route.targets == (FAST,)


def test_models_of_other_tenants_are_unknown(view: View) -> None:
    with pytest.raises(NotFoundError):
        decided(ask("ft:small:school"), view("a", own=("a",)))


def trial(*arms: Arm, operation: str | None = None) -> tuple[Experiment, ...]:
    return (Experiment("e1", "Trial", operation, arms),)


def test_an_experiment_puts_its_arm_first(view: View) -> None:
    here = view("a", "b", experiments=trial(Arm("quick", "b/fast", 1)))
    decision = decided(ask(), here)
    assert decision.route.targets == (FAST, BIG)
    assert decision.route.assignment == Assignment("e1", "quick")
    assert (decision.source, decision.policy) == ("experiment", "rules")
    assert decision.route.reason.endswith("fast answers in arm 'quick' of the experiment 'Trial'.")


def test_an_arm_may_be_a_policy(view: View) -> None:
    decision = decided(ask(), view("a", "b", experiments=trial(Arm("thrift", "auto:cost", 1))))
    assert (decision.route.targets, decision.policy) == ((FAST, BIG), "cost")
    assert decision.route.assignment == Assignment("e1", "thrift")


def test_who_names_a_model_or_a_policy_is_in_no_experiment(view: View) -> None:
    here = view("a", "b", experiments=trial(Arm("quick", "b/fast", 1)))
    assert [decided(ask(name), here).route.assignment for name in ("big", "auto:quality")] == [None, None]


def test_an_arm_that_cannot_be_used_is_no_assignment(view: View) -> None:
    decision = decided(ask(), view("a", experiments=trial(Arm("quick", "b/fast", 1))))
    assert (decision.route.model, decision.route.assignment) == ("big", None)


def test_users_are_spread_over_the_arms_and_stay(view: View) -> None:
    here = view("a", "b", experiments=trial(Arm("old", "a/big", 1), Arm("new", "b/fast", 1)))
    routes = {user: decided(ask(user=user), here).route for user in map(str, range(50))}
    assert {route.model for route in routes.values()} == {"big", "fast"}
    assert all(decided(ask(user=user), here).route == route for user, route in routes.items())
