"""The models that tenants have registered, for those who call them: size and price."""

from datetime import date

from deployments.provider_caller.catalogue import Model
from deployments.provider_caller.prices import Price
from deployments.router.tenants import DOMAIN, NOTHING, RoutingTables, TenantModel, load_tables
from deployments.snapshots import Snapshot
from kit.postgres import Databases

ALWAYS = date(2020, 1, 1)
"""A tenant's price has no history: it holds from before the platform's first day."""


class TenantModels:
    """As of two seconds ago at most. One instance per process."""

    def __init__(self, databases: Databases) -> None:
        empty: RoutingTables = {}
        self._snapshot = Snapshot(databases, DOMAIN, load_tables, empty=empty)

    async def start(self) -> None:
        """Load, and go on looking for changes."""
        await self._snapshot.start()

    async def close(self) -> None:
        """Stop looking."""
        await self._snapshot.close()

    def model(self, tenant: str, provider: str, model: str) -> Model | None:
        """A model by the tenant's slug, its provider and its id; None where the tenant has registered none such."""
        for own in self._snapshot.value.get(tenant, NOTHING).models:
            if (own.provider, own.model) == (provider, model):
                return _described(own)
        return None


def _described(own: TenantModel) -> Model:
    prices: tuple[Price, ...] = ()
    if own.input_price is not None and own.output_price is not None:
        prices = (Price.model_validate({"from": ALWAYS, "input": own.input_price, "output": own.output_price}),)
    return Model(id=own.model, context_window=own.context_window, prices=prices)
