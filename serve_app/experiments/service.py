"""The rules of experiments."""

import asyncio
from uuid import UUID

from deployments.protocols import Router
from deployments.provider_caller.catalogue import LOCAL
from kit.errors import NotFoundError, PermissionDeniedError
from serve_app.auth.schemas import Principal
from serve_app.experiments.report import report
from serve_app.experiments.repository import ExperimentRepository
from serve_app.experiments.schemas import (
    Experiment,
    ExperimentList,
    ExperimentUpdate,
    ExperimentWithReport,
    NewExperiment,
    Page,
    Report,
)
from serve_app.http.errors import bad_field, bad_fields
from serve_app.tenants.service import ADMIN_ROLE


class ExperimentService:
    """A tenant's experiments. Everybody may read them; administrators change them."""

    def __init__(self, repository: ExperimentRepository, router: Router) -> None:
        self._repository = repository
        self._router = router

    async def list(self, caller: Principal, page: Page) -> ExperimentList:
        """Newest first, each with its report."""
        found = await self._repository.list(caller.tenant_id, page.limit + 1, page.cursor)
        shown = found[: page.limit]
        reports = await asyncio.gather(*(self._report(caller.tenant, experiment) for experiment in shown))
        return ExperimentList(
            experiments=[
                ExperimentWithReport(**experiment.model_dump(), report=made)
                for experiment, made in zip(shown, reports, strict=True)
            ],
            next_cursor=str(shown[-1].id) if len(found) > page.limit else None,
        )

    async def get(self, caller: Principal, id: str) -> Experiment:
        """One. Raises NotFoundError."""
        found = await self._repository.get(caller.tenant_id, _id(id))
        if found is None:
            raise _unknown(id)
        return found

    async def report(self, caller: Principal, id: str) -> Report:
        """What came of one so far. Raises NotFoundError."""
        return await self._report(caller.tenant, await self.get(caller, id))

    async def add(self, caller: Principal, new: NewExperiment) -> Experiment:
        """Raises PermissionDeniedError, ValidationError for models that the tenant may not name, ConflictError for a
        name that is taken."""
        _require_admin(caller)
        await self._require_models(caller.tenant, new)
        return await self._repository.add(caller.tenant_id, new)

    async def change(self, caller: Principal, id: str, update: ExperimentUpdate) -> Experiment:
        """Change name, state or weights. Raises NotFoundError, PermissionDeniedError, ValidationError,
        ConflictError."""
        _require_admin(caller)
        changed = await self._repository.replace(caller.tenant_id, _applied(update, await self.get(caller, id)))
        if changed is None:
            raise _unknown(id)
        return changed

    async def _report(self, tenant: str, experiment: Experiment) -> Report:
        return report(experiment.arms, await self._repository.calls(tenant, experiment.id))

    async def _require_models(self, tenant: str, new: NewExperiment) -> None:
        known = [info for info in await self._router.models(tenant) if info.provider != LOCAL]
        names = {info.id for info in known} | {f"{info.provider}/{info.id}" for info in known}
        problem = f"must be one of {', '.join(dict.fromkeys(info.id for info in known))}"
        wrong = {f"arms[{n}].model": [problem] for n, arm in enumerate(new.arms) if arm.model not in names}
        if wrong:
            raise bad_fields(wrong)


def _applied(update: ExperimentUpdate, experiment: Experiment) -> Experiment:
    weights = update.weights or {}
    names = [arm.name for arm in experiment.arms]
    for name in weights:
        if name not in names:
            raise bad_field(f"weights.{name}", f"must be one of the arms {', '.join(names)}")
    arms = [arm.model_copy(update={"weight": weights.get(arm.name, arm.weight)}) for arm in experiment.arms]
    if not any(arm.weight for arm in arms):
        raise bad_field("weights", "must leave an arm with a weight above 0")
    return experiment.model_copy(
        update={
            "name": update.name or experiment.name,
            "state": update.state or experiment.state,
            "arms": arms,
        }
    )


def _id(text: str) -> UUID:
    try:
        return UUID(text)
    except ValueError:
        raise _unknown(text) from None


def _unknown(id: str) -> NotFoundError:
    return NotFoundError(f"There is no experiment {id!r}.")


def _require_admin(caller: Principal) -> None:
    if caller.role != ADMIN_ROLE:
        raise PermissionDeniedError("Only administrators may change experiments.")
