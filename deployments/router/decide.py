"""Chooses a model. Pure: a tenant's view and a question's type in, a Route with its reason out.

The stage and its client decide by the same functions, so that it does not matter which of them was asked.
"""

from dataclasses import dataclass, replace
from typing import NoReturn, cast

from deployments.protocols import Assignment, ModelInfo, Route, RouteRequest
from deployments.provider_caller.catalogue import LOCAL, LOCAL_MODEL
from deployments.router.arms import Arm, Experiment, arm_for
from deployments.router.classify import Finding
from deployments.router.offers import Offer
from deployments.router.policy import Entry, PolicyName
from deployments.router.view import TenantView
from kit.errors import NotFoundError, UnavailableError
from kit.settings import variable_of

AUTO = "auto"
AUTO_MODELS = (AUTO, "auto:cost", "auto:speed", "auto:quality")
PLATFORM = "penstock"
"""Who provides the `auto` models."""


@dataclass(frozen=True, slots=True)
class Decision:
    """policy: rules, cost, speed, quality or `named`. source: rule, classifier, caller, default or experiment."""

    route: Route
    policy: str
    source: str


def is_auto(model: str) -> bool:
    """Whether the router is asked to choose."""
    return model == AUTO or model.startswith("auto:")


def decide(request: RouteRequest, finding: Finding, view: TenantView) -> Decision:
    """The route of a request whose operation type is found.

    Raises NotFoundError for an unknown model or policy, UnavailableError when nothing can serve.
    """
    if not is_auto(request.model):
        return Decision(_named(request, finding.operation, view), "named", "caller")
    if request.model not in AUTO_MODELS:
        _unknown(request.model, view)
    if request.model == AUTO:
        drawn = arm_for(view.tables.experiments, finding.operation, request.account)
        decision = _in_experiment(*drawn, request, finding, view) if drawn else None
        if decision is not None:
            return decision
    policy = _policy(request.model, request, view)
    return Decision(_chosen(policy, request, finding, view), policy, finding.source)


def models(view: TenantView) -> tuple[ModelInfo, ...]:
    """Every model that may be named: the `auto` ones, each provider's, and `local`."""
    # Available even where no provider is set up: a question with passages is answered by quoting them.
    automatic = [ModelInfo(id, PLATFORM, None, None, None, True) for id in AUTO_MODELS]
    # Quoting costs nothing: here zero is a known price.
    local = ModelInfo(LOCAL, LOCAL, None, 0, 0, True)
    return (*automatic, *(offer.info() for offer in view.offers), local)


def _policy(model: str, request: RouteRequest, view: TenantView) -> PolicyName:
    # A member of AUTO_MODELS: its last word is a policy.
    return view.policy_of(request.account.agent_id) if model == AUTO else cast(PolicyName, model.partition(":")[2])


def _chosen(policy: PolicyName, request: RouteRequest, finding: Finding, view: TenantView) -> Route:
    operation, agent_id = finding.operation, request.account.agent_id
    order = view.order(policy, operation, agent_id)
    instruction = view.policy.operations[operation].instruction
    if not order:
        if not request.grounded:
            raise UnavailableError(_nothing_available(operation, agent_id, view), should_retry=False)
        reason = f"{finding.because}, and no model for that can be used, so the passages themselves are quoted."
        return Route(LOCAL, LOCAL_MODEL, operation, reason)
    chosen = order[0]
    reason = f"{finding.because}; {chosen.model} is {_praise(policy, chosen, operation, agent_id, view)}."
    fallbacks = _fallbacks([offer.entry for offer in order[1:]], request, view)
    return Route(chosen.provider, chosen.model, operation, reason, fallbacks, instruction=instruction)


def _praise(policy: PolicyName, chosen: Offer, operation: str, agent_id: str | None, view: TenantView) -> str:
    if policy == "rules" and view.has_rules(operation, agent_id):
        return "the first available model of your own list for that"
    if policy == "rules" and chosen.operation == operation:
        return "your own model for that"
    return _PRAISE[policy]


_PRAISE = {
    "rules": "the first available model for that",
    "cost": "the cheapest available model for that",
    "speed": "the fastest available model for that by what was observed",
    "quality": "the first available model of the quality ranking for that",
}


def _in_experiment(
    experiment: Experiment, arm: Arm, request: RouteRequest, finding: Finding, view: TenantView
) -> Decision | None:
    """The route of an arm; None where its model cannot be used, and the caller is then in no experiment."""
    if is_auto(arm.model):
        policy = _policy(arm.model, request, view)
        route = _chosen(policy, request, finding, view)
    else:
        offer = _usable(arm.model, view)
        if offer is None:
            return None
        policy = view.policy_of(request.account.agent_id)
        rest = [entry for entry in _entries(policy, request, finding.operation, view) if entry != offer.entry]
        instruction = view.policy.operations[finding.operation].instruction
        fallbacks = _fallbacks(rest, request, view)
        route = Route(offer.provider, offer.model, finding.operation, "", fallbacks, instruction=instruction)
    reason = f"{finding.because}; {route.model} answers in arm {arm.name!r} of the experiment {experiment.name!r}."
    assigned = replace(route, reason=reason, assignment=Assignment(experiment.id, arm.name))
    return Decision(assigned, policy, "experiment")


def _named(request: RouteRequest, operation: str, view: TenantView) -> Route:
    """The route to a model that the caller named, plainly or as provider/model; its fallbacks are the operation's."""
    reason = "The model was requested by name."
    if request.model in (LOCAL, LOCAL_MODEL):
        return Route(LOCAL, LOCAL_MODEL, operation, reason)
    offers = view.named(request.model)
    if not offers:
        _unknown(request.model, view)
    offer = _usable(request.model, view)
    if offer is None:
        raise UnavailableError(
            f"{offers[0].model} is served by {offers[0].provider_name}: {offers[0].remedy}.", should_retry=False
        )
    rest = [entry for entry in _entries("rules", request, operation, view) if entry != offer.entry]
    return Route(offer.provider, offer.model, operation, reason, _fallbacks(rest, request, view))


def _usable(model: str, view: TenantView) -> Offer | None:
    return next((offer for offer in view.named(model) if offer.available), None)


def _entries(policy: PolicyName, request: RouteRequest, operation: str, view: TenantView) -> list[Entry]:
    return [offer.entry for offer in view.order(policy, operation, request.account.agent_id)]


def _fallbacks(entries: list[Entry], request: RouteRequest, view: TenantView) -> tuple[Entry, ...]:
    if view.tables.failover == "manual":
        return ()
    return (*entries, (LOCAL, LOCAL_MODEL)) if request.grounded else tuple(entries)


def _unknown(model: str, view: TenantView) -> NoReturn:
    known = ", ".join(dict.fromkeys(info.id for info in models(view) if info.available))
    message = f"There is no model {model!r}. Available: {known}."
    raise NotFoundError(message, details={"model": [f"must be one of {known}"]}, should_retry=False)


def _nothing_available(operation: str, agent_id: str | None, view: TenantView) -> str:
    if any(offer.available for offer in view.offers):
        place = "your routing rules list" if view.has_rules(operation, agent_id) else "the routing policy lists"
        return f"None of the models that {place} for {operation} can be used now. Name another model in `model`."
    remedies = "; ".join(f"{provider.name}: {provider.remedy}" for provider in view.providers)
    own = f"{variable_of('provider_caller.compatible_base_url')} and {variable_of('provider_caller.compatible_models')}"
    return (
        f"No model provider is configured. {remedies}; a server of your own: set {own}. "
        "Without one, only questions to a collection can be answered, by quoting it (`auto@COLLECTION`)."
    )
