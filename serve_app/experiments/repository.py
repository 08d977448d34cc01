"""SQL of experiments: their rows in the control database, what came of them in the tenant's ledger."""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from uuid import UUID

import asyncpg
import orjson

from deployments.retriever.store import tenant_database
from kit.errors import ConflictError
from kit.ids import uuid7
from kit.postgres import Databases
from serve_app.experiments.report import UserCalls
from serve_app.experiments.schemas import Experiment, NewExperiment

_COLUMNS = "id, name, operation, arms, state, created_at, updated_at"

_CALLS = """
WITH calls AS (
    SELECT arm, coalesce(nullif(user_id, ''), agent_id, key_id) AS unit, request_id,
           bool_or(outcome = 'ok') AS succeeded,
           CASE WHEN bool_and(cost_nano IS NOT NULL) THEN sum(cost_nano) END AS cost,
           extract(epoch FROM max(started_at + latency_ms * interval '1 millisecond') - min(started_at)) * 1000
               AS latency
    FROM usage_ledger
    WHERE experiment = $1 AND arm IS NOT NULL
    GROUP BY arm, unit, request_id
)
SELECT arm, count(*) AS calls, count(*) FILTER (WHERE succeeded) AS succeeded, count(cost) AS priced,
       coalesce(sum(cost), 0) AS cost, sum(latency) AS latency
FROM calls
GROUP BY arm, unit
"""
"""A call is all attempts of one request: it succeeded if one of them did, and its time is from the first one's start
to the last one's end. The unit is the router's: `deployments.router.arms.unit_of`."""


class ExperimentRepository:
    """Experiments of the tenants; each method reads and writes one tenant's only."""

    def __init__(self, databases: Databases) -> None:
        self._databases = databases

    async def list(self, tenant_id: UUID, limit: int, before: UUID | None) -> list[Experiment]:
        """Newest first, older than `before`."""
        rows = await self._databases.control.fetch(
            f"SELECT {_COLUMNS} FROM experiments WHERE tenant_id = $1 AND ($2::uuid IS NULL OR id < $2)"  # noqa: S608
            " ORDER BY id DESC LIMIT $3",
            *(tenant_id, before, limit),
        )
        return [_experiment(row) for row in rows]

    async def get(self, tenant_id: UUID, id: UUID) -> Experiment | None:
        """One, None where the tenant has none of this id."""
        row = await self._databases.control.fetchrow(
            f"SELECT {_COLUMNS} FROM experiments WHERE tenant_id = $1 AND id = $2",  # noqa: S608
            *(tenant_id, id),
        )
        return None if row is None else _experiment(row)

    async def add(self, tenant_id: UUID, new: NewExperiment) -> Experiment:
        """Raises ConflictError where the name is taken."""
        arms = orjson.dumps([arm.model_dump() for arm in new.arms]).decode()
        try:
            row = await self._databases.control.fetchrow(
                "INSERT INTO experiments (id, tenant_id, name, operation, arms, state) VALUES ($1, $2, $3, $4, $5, $6)"  # noqa: S608
                f" RETURNING {_COLUMNS}",
                *(uuid7(), tenant_id, new.name, new.operation, arms, new.state),
            )
        except asyncpg.UniqueViolationError:
            raise _taken(new.name) from None
        assert row is not None
        return _experiment(row)

    async def replace(self, tenant_id: UUID, changed: Experiment) -> Experiment | None:
        """Write name, arms and state; None where it is gone. Raises ConflictError where the name is taken."""
        arms = orjson.dumps([arm.model_dump() for arm in changed.arms]).decode()
        try:
            row = await self._databases.control.fetchrow(
                "UPDATE experiments SET name = $3, arms = $4, state = $5, updated_at = now()"  # noqa: S608
                f" WHERE tenant_id = $1 AND id = $2 RETURNING {_COLUMNS}",
                *(tenant_id, changed.id, changed.name, arms, changed.state),
            )
        except asyncpg.UniqueViolationError:
            raise _taken(changed.name) from None
        return None if row is None else _experiment(row)

    async def calls(self, tenant: str, id: UUID) -> Mapping[str, Sequence[UserCalls]]:
        """What the ledger has of an experiment: by arm, one entry for each user."""
        rows = await self._databases.pool(tenant_database(tenant)).fetch(_CALLS, str(id))
        users: defaultdict[str, list[UserCalls]] = defaultdict(list)
        for row in rows:
            users[row["arm"]].append(
                UserCalls(row["calls"], row["succeeded"], row["priced"], int(row["cost"]), float(row["latency"]))
            )
        return users


def _experiment(row: asyncpg.Record) -> Experiment:
    columns = dict(row)
    columns["arms"] = orjson.loads(columns["arms"])
    return Experiment.model_validate(columns)


def _taken(name: str) -> ConflictError:
    message = f"There is an experiment named {name!r} already."
    return ConflictError(message, details={"name": ["must be another than those of your other experiments"]})
