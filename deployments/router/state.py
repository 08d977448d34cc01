"""What routing decisions rest on, kept fresh in each process that decides: policy, providers, tenants, speeds."""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from datetime import UTC, date, datetime

import structlog
from redis.exceptions import RedisError

from deployments.protocols import Account
from deployments.provider_caller.catalogue import ProviderState
from deployments.router.arms import arms_of
from deployments.router.ordering import Speeds
from deployments.router.policy import Policy
from deployments.router.tenants import DOMAIN, NOTHING, RoutingTables, load_tables
from deployments.router.view import TenantView
from deployments.snapshots import Snapshot
from kit.postgres import Databases
from kit.tasks import stop

SPEEDS_EVERY = 5.0
"""Seconds between two looks at the observed speeds."""

ReadSpeeds = Callable[[], Awaitable[Speeds]]
"""Raises RedisError or OSError while Redis is lost."""

ProvidersOf = Callable[[str], frozenset[str]]
"""The providers that a tenant (slug) has keys of its own for."""

_log = structlog.get_logger("penstock.router")


def no_providers(tenant: str) -> frozenset[str]:
    """Tenants have no keys of their own."""
    return frozenset()


def _today() -> date:
    return datetime.now(UTC).date()


class RoutingState:
    """Views of tenants. Without `databases` no tenant has settings of its own; without `read_speeds` nothing is
    observed. Both belong to the caller."""

    def __init__(
        self,
        policy: Policy,
        providers: Sequence[ProviderState],
        *,
        databases: Databases | None = None,
        read_speeds: ReadSpeeds | None = None,
        providers_of: ProvidersOf = no_providers,
        today: Callable[[], date] = _today,
    ) -> None:
        self.policy = policy
        self._providers = tuple(providers)
        self._tables: Snapshot[RoutingTables] | None = (
            Snapshot(databases, DOMAIN, load_tables, empty={}) if databases is not None else None
        )
        self._read_speeds = read_speeds
        self._providers_of = providers_of
        self._today = today
        self._speeds: Speeds = {}
        self._views: dict[str, TenantView] = {}
        self._refresher: asyncio.Task[None] | None = None

    async def start(self) -> None:
        """Load, and go on refreshing. Neither a lost Postgres nor a lost Redis hinders the start."""
        if self._tables is not None:
            await self._tables.start()
        if self._read_speeds is not None:
            await self.refresh_speeds()
            self._refresher = asyncio.create_task(self._run(), name="refresh observed speeds")

    async def close(self) -> None:
        """Stop refreshing."""
        if self._refresher is not None:
            await stop(self._refresher)
        if self._tables is not None:
            await self._tables.close()

    async def refresh_speeds(self) -> None:
        """Read the observed speeds; the last ones stand where that fails."""
        if self._read_speeds is None:
            return
        try:
            self._speeds = await self._read_speeds()
        except (RedisError, OSError) as error:
            _log.warning("observed speeds not refreshed", reason=type(error).__name__)

    async def refresh_tables(self) -> None:
        """Load what tenants have set, if it has changed. Raises UnavailableError."""
        if self._tables is not None:
            await self._tables.refresh()

    def view(self, tenant: str) -> TenantView:
        """What a decision for this tenant depends on, as of now."""
        tables = self._tables.value.get(tenant, NOTHING) if self._tables is not None else NOTHING
        own, today = self._providers_of(tenant), self._today()
        view = self._views.get(tenant)
        if (
            view is None
            or view.tables is not tables
            or view.speeds is not self._speeds
            or view.own_providers != own
            or view.today != today
        ):
            view = TenantView(self.policy, self._providers, tables, own, self._speeds, today)
            self._views[tenant] = view
        return view

    def variant(self, account: Account) -> str:
        """See RouterClient.variant."""
        view = self.view(account.tenant)
        return "|".join((view.version, *arms_of(view.tables.experiments, account)))

    async def _run(self) -> None:
        while True:
            await asyncio.sleep(SPEEDS_EVERY)
            await self.refresh_speeds()
