"""The rules of a tenant's configuration."""

from collections.abc import Collection, Iterable, Mapping

from deployments.protocols import Router
from deployments.router.policy import Policy, entry_of
from deployments.router.tenants import TenantRouting
from kit.errors import PermissionDeniedError
from serve_app.auth.schemas import Principal
from serve_app.configuration.repository import ConfigRepository, Stored
from serve_app.configuration.schemas import (
    Config,
    ConfigUpdate,
    Origin,
    RegisteredModel,
    RoutingConfig,
    RoutingUpdate,
    Setting,
)
from serve_app.http.errors import bad_fields
from serve_app.tenants.service import ADMIN_ROLE

Problems = dict[str, list[str]]


class ConfigService:
    """Effective values, and changes by administrators. A change holds everywhere within about two seconds."""

    def __init__(
        self, repository: ConfigRepository, router: Router, policy: Policy, providers: Collection[str]
    ) -> None:
        """policy: the platform's. providers: ids of those that models may be registered for."""
        self._repository = repository
        self._router = router
        self._policy = policy
        self._providers = frozenset(providers)

    async def get(self, caller: Principal) -> Config:
        """Effective values with their origins."""
        return self._effective(await self._repository.read(caller.tenant_id))

    async def change(self, caller: Principal, update: ConfigUpdate) -> Config:
        """Apply what the update sets. Raises PermissionDeniedError, and ValidationError that names every wrong
        field; then nothing has changed."""
        if caller.role != ADMIN_ROLE:
            raise PermissionDeniedError("Only administrators may change the configuration.")
        listed = await self._router.models(caller.tenant)
        async with self._repository.changing(caller.tenant_id) as stored:
            registered = {(model.provider, model.model) for model in stored.models}
            _apply(update, stored)
            known = {(info.provider, info.id) for info in listed} - registered
            known |= {(model.provider, model.model) for model in stored.models}
            problems = self._problems(update, known)
            if problems:
                raise bad_fields(problems)
        return self._effective(stored)

    def _problems(self, update: ConfigUpdate, known: Collection[tuple[str, str]]) -> Problems:
        problems: Problems = {}
        names = [(model.provider, model.model) for model in update.models or ()]
        for number, (provider, model) in enumerate(names):
            if provider not in self._providers:
                allowed = ", ".join(sorted(self._providers))
                problems[f"models[{number}].provider"] = [f"must be one of {allowed}"]
            if (provider, model) in names[:number]:
                problems[f"models[{number}].model"] = ["must be listed once"]
        routing = update.routing or RoutingUpdate()
        problems |= _unknown_models("routing.rules", routing.rules, known, self._providers)
        for agent, rules in routing.agents.items():
            if rules is not None:
                problems |= _unknown_models(f"routing.agents.{agent}.rules", rules.rules, known, self._providers)
        return problems

    def _effective(self, stored: Stored) -> Config:
        routing = stored.routing
        rules = {
            operation: Setting[list[str]](
                value=routing.rules.get(operation) or ["/".join(entry) for entry in entry.models],
                origin=_origin(operation in routing.rules),
            )
            for operation, entry in self._policy.operations.items()
        }
        return Config(
            failover=Setting(value=stored.failover, origin=_origin(stored.failover != "automatic")),
            routing=RoutingConfig(
                policy=Setting(value=routing.policy or "rules", origin=_origin(routing.policy is not None)),
                rules=rules,
                agents=Setting(value=routing.agents, origin=_origin(bool(routing.agents))),
            ),
            models=Setting(
                value=[RegisteredModel.of(model) for model in stored.models], origin=_origin(bool(stored.models))
            ),
        )


def _apply(update: ConfigUpdate, stored: Stored) -> None:
    """Null and absent differ: null is among the fields that were set."""
    if "failover" in update.model_fields_set:
        stored.failover = update.failover or "automatic"
    if "models" in update.model_fields_set:
        stored.models = [model.stored() for model in update.models or ()]
    if "routing" in update.model_fields_set:
        stored.routing = _merged(update.routing, stored.routing)


def _merged(update: RoutingUpdate | None, routing: TenantRouting) -> TenantRouting:
    if update is None:
        return TenantRouting()
    rules = {operation: models for operation, models in (routing.rules | update.rules).items() if models is not None}
    agents = {agent: rules for agent, rules in (routing.agents | update.agents).items() if rules is not None}
    policy = update.policy if "policy" in update.model_fields_set else routing.policy
    return TenantRouting(policy=policy, rules=rules, agents=agents)


def _unknown_models(
    path: str,
    rules: Mapping[str, Iterable[str] | None],
    known: Collection[tuple[str, str]],
    providers: Collection[str],
) -> Problems:
    problems: Problems = {}
    for operation, models in rules.items():
        for number, text in enumerate(models or ()):
            provider, model = entry_of(text)
            if (provider, model) not in known and not (model == "*" and provider in providers):
                problems[f"{path}.{operation}[{number}]"] = [
                    "must be provider/model of a model that /v1/models/available lists, or provider/* for all of one"
                ]
    return problems


def _origin(set_by_tenant: bool) -> Origin:
    return "tenant" if set_by_tenant else "platform default"
