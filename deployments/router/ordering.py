"""Puts the models of an operation in the order of a policy."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Protocol

from deployments.protocols import Usage
from deployments.router.offers import Offer
from deployments.router.policy import Entry, TokenMix

LEAST_OBSERVED = 20
"""Calls from which a model's observed speed counts."""


class ObservedSpeed(Protocol):
    """Times in seconds; None where nothing was seen."""

    @property
    def count(self) -> int:
        """Calls that the figures rest on."""
        ...

    @property
    def first_token_p50(self) -> float | None:
        """Median until the first token."""
        ...

    @property
    def total_p50(self) -> float | None:
        """Median of the whole call."""
        ...

    @property
    def tokens_per_second(self) -> float | None:
        """Output tokens per second after the first."""
        ...


Speeds = Mapping[Entry, ObservedSpeed]
"""By (provider, model)."""


def matching(entries: Iterable[Entry], offers: Sequence[Offer]) -> list[Offer]:
    """The available offers that entries name, in their order, each once."""
    found: dict[Entry, Offer] = {}
    for provider, model in entries:
        for offer in offers:
            if offer.available and offer.provider == provider and model in ("*", offer.model):
                found.setdefault(offer.entry, offer)
    return list(found.values())


def by_cost(offers: Sequence[Offer], mix: TokenMix) -> list[Offer]:
    """Cheapest first for that many tokens; a model without a known price comes after all that have one."""
    return sorted(offers, key=lambda offer: expected_cost(offer, mix))


def expected_cost(offer: Offer, mix: TokenMix) -> float:
    """Nano-dollars, infinite where unknown."""
    return float("inf") if offer.price is None else offer.price.cost(Usage(mix.input, mix.output))


def by_speed(offers: Sequence[Offer], mix: TokenMix, speeds: Speeds) -> list[Offer]:
    """Fastest first by what was observed. A model of which little is known keeps its place, so that it is tried where
    the configuration has it first; the others are sorted among the places that are left."""
    times = {offer.entry: _expected_seconds(offer, mix, speeds) for offer in offers}
    known = iter(sorted((o for o in offers if times[o.entry] is not None), key=lambda o: times[o.entry] or 0.0))
    return [offer if times[offer.entry] is None else next(known) for offer in offers]


def _expected_seconds(offer: Offer, mix: TokenMix, speeds: Speeds) -> float | None:
    speed = speeds.get(offer.entry)
    if speed is None or speed.count < LEAST_OBSERVED:
        return None
    if speed.first_token_p50 is not None and speed.tokens_per_second:
        return speed.first_token_p50 + mix.output / speed.tokens_per_second
    return speed.total_p50


def by_ranking(offers: Sequence[Offer], ranking: Iterable[Entry]) -> list[Offer]:
    """Those of a ranking first, in its order, then the others."""
    ranked = matching(ranking, offers)
    return ranked + [offer for offer in offers if offer not in ranked]
