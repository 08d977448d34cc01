"""Chooses a model. Pure: a snapshot and a question's type in, a Route with its reason out.

The stage and its client decide by the same functions, so that it does not matter which of them was asked.
"""

from dataclasses import dataclass
from datetime import UTC, date, datetime
from typing import NoReturn

from deployments.protocols import ModelInfo, Route
from deployments.provider_caller.catalogue import LOCAL, LOCAL_MODEL, Model, ProviderState
from deployments.router.policy import Entry, Policy
from kit.errors import NotFoundError, UnavailableError
from kit.settings import variable_of

AUTO = "auto"
AUTO_MODELS = (AUTO, "auto:cost", "auto:speed", "auto:quality")
PLATFORM = "penstock"
"""Who provides the `auto` models."""

_INPUT_WEIGHT = 3
"""Tokens read for each token written, in a typical request: how prices are compared."""


@dataclass(frozen=True, slots=True)
class Snapshot:
    """All that a decision depends on besides the question."""

    policy: Policy
    providers: tuple[ProviderState, ...]

    def provider(self, id: str) -> ProviderState | None:
        """A provider by its id."""
        return next((provider for provider in self.providers if provider.id == id), None)


def is_auto(model: str) -> bool:
    """Whether the router is asked to choose."""
    return model == AUTO or model.startswith(f"{AUTO}:")


def choose(
    model: str, operation: str, because: str, snapshot: Snapshot, *, grounded: bool, today: date | None = None
) -> Route:
    """The model for `auto` or `auto:POLICY`. `because` says why the operation is what it is.

    Raises NotFoundError for an unknown policy, UnavailableError when nothing can serve.
    """
    if model not in AUTO_MODELS:
        _unknown(model, snapshot)
    policy = model.partition(":")[2]
    candidates = _candidates(policy, operation, snapshot, today or _today())
    if not candidates:
        if not grounded:
            raise UnavailableError(_nothing_available(snapshot), should_retry=False)
        reason = f"{because}, and no model provider is configured, so the passages themselves are quoted."
        return Route(LOCAL, LOCAL_MODEL, operation, reason)
    provider, chosen = candidates[0]
    reason = f"{because}; {chosen} is {_PRAISE[policy]}."
    return Route(provider, chosen, operation, reason, _with_local(candidates[1:], grounded))


_PRAISE = {
    "": "the first available model for that",
    "cost": "the cheapest available model for that",
    "speed": "the first available model of the speed list",
    "quality": "the first available model of the quality list",
}


def named(model: str, operation: str, snapshot: Snapshot, *, grounded: bool) -> Route:
    """The route to a model that the caller named, plainly or as provider/model.

    Raises NotFoundError for an unknown model, UnavailableError for one whose provider is not set up.
    """
    if model in (LOCAL, LOCAL_MODEL):
        return Route(LOCAL, LOCAL_MODEL, operation, "The model was requested by name.")
    offers = [
        (provider, entry.id)
        for provider in snapshot.providers
        for entry in provider.models
        if model in (entry.id, f"{provider.id}/{entry.id}")
    ]
    if not offers:
        _unknown(model, snapshot)
    for provider, id in offers:
        if provider.available:
            fallbacks = _with_local((), grounded)
            return Route(provider.id, id, operation, "The model was requested by name.", fallbacks)
    provider, id = offers[0]
    raise UnavailableError(f"{id} is served by {provider.name}: {provider.remedy}.", should_retry=False)


def models(snapshot: Snapshot, today: date | None = None) -> tuple[ModelInfo, ...]:
    """Every model that may be named: the `auto` ones, each provider's, and `local`."""
    # Available even where no provider is set up: a question with passages is answered by quoting them.
    automatic = [ModelInfo(id, PLATFORM, None, None, None, True) for id in AUTO_MODELS]
    day = today or _today()
    offered = [_info(provider, entry, day) for provider in snapshot.providers for entry in provider.models]
    # Quoting costs nothing: here zero is a known price.
    local = ModelInfo(LOCAL, LOCAL, None, 0, 0, True)
    return (*automatic, *offered, local)


def _candidates(policy: str, operation: str, snapshot: Snapshot, today: date) -> tuple[Entry, ...]:
    """Available models in the order in which they should be tried."""
    typical = _available(snapshot.policy.operations[operation], snapshot)
    if policy == "cost":
        return tuple(sorted(typical, key=lambda entry: _expense(entry, snapshot, today)))
    first = {"speed": snapshot.policy.speed, "quality": snapshot.policy.quality}.get(policy, ())
    return tuple(dict.fromkeys((*_available(first, snapshot), *typical)))


def _available(entries: tuple[Entry, ...], snapshot: Snapshot) -> list[Entry]:
    found: list[Entry] = []
    for id, model in entries:
        provider = snapshot.provider(id)
        if provider is not None and provider.available:
            found += [(id, entry.id) for entry in provider.models if model in ("*", entry.id)]
    return found


def _expense(entry: Entry, snapshot: Snapshot, today: date) -> float:
    """A typical request's price relative to others; a model without a known price comes after all that have one."""
    provider = snapshot.provider(entry[0])
    model = next(model for model in provider.models if model.id == entry[1]) if provider else None
    price = model.price(today) if model else None
    return float("inf") if price is None else _INPUT_WEIGHT * price.input + price.output


def _with_local(entries: tuple[Entry, ...], grounded: bool) -> tuple[Entry, ...]:
    return (*entries, (LOCAL, LOCAL_MODEL)) if grounded else entries


def _info(provider: ProviderState, model: Model, today: date) -> ModelInfo:
    price = model.price(today)
    return ModelInfo(
        id=model.id,
        provider=provider.id,
        context_window=model.context_window,
        input_price=price.input if price else None,
        output_price=price.output if price else None,
        available=provider.available,
    )


def _unknown(model: str, snapshot: Snapshot) -> NoReturn:
    known = ", ".join(dict.fromkeys(info.id for info in models(snapshot) if info.available))
    message = f"There is no model {model!r}. Available: {known}."
    raise NotFoundError(message, details={"model": [f"must be one of {known}"]}, should_retry=False)


def _nothing_available(snapshot: Snapshot) -> str:
    remedies = "; ".join(f"{provider.name}: {provider.remedy}" for provider in snapshot.providers)
    own = f"{variable_of('provider_caller.compatible_base_url')} and {variable_of('provider_caller.compatible_models')}"
    return (
        f"No model provider is configured. {remedies}; a server of your own: set {own}. "
        "Without one, only questions to a collection can be answered, by quoting it (`auto@COLLECTION`)."
    )


def _today() -> date:
    return datetime.now(UTC).date()
