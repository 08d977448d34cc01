"""One tenant's models and orders, worked out once and used until something changes."""

import functools
import hashlib
from collections.abc import Mapping, Sequence
from datetime import date

from deployments.provider_caller.catalogue import ProviderState
from deployments.router.offers import Offer, offers_of
from deployments.router.ordering import Speeds, by_cost, by_ranking, by_speed, matching
from deployments.router.policy import Policy, PolicyName, entry_of
from deployments.router.tenants import TenantTables


class TenantView:
    """What a decision for a tenant depends on. `own_providers`: those that the tenant has a key of its own for."""

    def __init__(
        self,
        policy: Policy,
        providers: Sequence[ProviderState],
        tables: TenantTables,
        own_providers: frozenset[str],
        speeds: Speeds,
        today: date,
    ) -> None:
        self.policy = policy
        self.providers = providers
        self.tables = tables
        self.own_providers = own_providers
        self.speeds = speeds
        self.today = today
        self.offers = offers_of(providers, tables.models, own_providers, today)
        self._by_name = _by_name(self.offers)
        self._orders: dict[tuple[str, str, str | None], tuple[Offer, ...]] = {}

    @functools.cached_property
    def version(self) -> str:
        """Changes with the policy, the tenant's settings and the models that can be used."""
        usable = [offer.entry for offer in self.offers if offer.available]
        stated = (self.policy.version, self.tables.failover, self.tables.routing.model_dump_json(), usable)
        return hashlib.sha256(repr(stated).encode()).hexdigest()[:12]

    def named(self, model: str) -> tuple[Offer, ...]:
        """The offers of a model named plainly or as provider/model."""
        return self._by_name.get(model, ())

    def policy_of(self, agent_id: str | None) -> PolicyName:
        """What the model `auto` means for this tenant and agent."""
        routing = self.tables.routing
        agent = routing.agents.get(agent_id) if agent_id else None
        return (agent.policy if agent else None) or routing.policy or "rules"

    def has_rules(self, operation: str, agent_id: str | None) -> bool:
        """Whether the tenant, or its agent, says which models answer the operation."""
        return self._rules(operation, agent_id) is not None

    def order(self, policy: PolicyName, operation: str, agent_id: str | None) -> tuple[Offer, ...]:
        """The available models in the order in which they are to be tried."""
        key = (policy, operation, agent_id if agent_id in self.tables.routing.agents else None)
        order = self._orders.get(key)
        if order is None:
            order = self._orders[key] = tuple(self._ordered(policy, operation, key[2]))
        return order

    def _ordered(self, policy: PolicyName, operation: str, agent_id: str | None) -> list[Offer]:
        entry = self.policy.operations[operation]
        rules = self._rules(operation, agent_id)
        if rules is not None:
            typical = matching(map(entry_of, rules), self.offers)
        else:
            typical = [offer for offer in self.offers if offer.available and offer.operation == operation]
            typical += [offer for offer in matching(entry.models, self.offers) if offer not in typical]
        # A tenant's own list is all that may answer; ours may be joined by what the policy names.
        if policy == "cost":
            return by_cost(typical, entry.tokens)
        if policy == "speed":
            return by_speed(self._joined(self.policy.speed, typical, rules), entry.tokens, self.speeds)
        if policy == "quality":
            return by_ranking(self._joined(entry.quality, typical, rules), entry.quality)
        return typical

    def _joined(self, entries: Sequence[tuple[str, str]], typical: list[Offer], rules: object) -> list[Offer]:
        if rules is not None:
            return typical
        first = matching(entries, self.offers)
        return first + [offer for offer in typical if offer not in first]

    def _rules(self, operation: str, agent_id: str | None) -> Sequence[str] | None:
        routing = self.tables.routing
        agent = routing.agents.get(agent_id) if agent_id else None
        own = agent.rules.get(operation) if agent else None
        return own or routing.rules.get(operation)


def _by_name(offers: Sequence[Offer]) -> Mapping[str, tuple[Offer, ...]]:
    names: dict[str, tuple[Offer, ...]] = {}
    for offer in offers:
        for name in (offer.model, *offer.aliases):
            for spelling in {name, f"{offer.provider}/{name}"}:
                names[spelling] = (*names.get(spelling, ()), offer)
    return names
