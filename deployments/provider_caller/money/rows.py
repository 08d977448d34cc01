"""A row of the usage ledger: one attempt at a provider that was sent."""

from collections.abc import Callable
from dataclasses import dataclass, fields
from datetime import UTC, datetime
from operator import attrgetter
from typing import Any
from uuid import UUID

import orjson

from deployments.protocols import Account
from deployments.provider_caller.money.hold import Hold

LOST = "lost"
"""Outcome of an attempt whose replica died before it could say what became of it."""


@dataclass(slots=True)  # not frozen: that triples the time of making one, and every attempt makes one
class LedgerRow:
    """The columns of `usage_ledger`, and the tenant's slug.

    cost_nano: 0 where nothing was charged, None where nobody knows: budgets are then charged what was held. Where the
    attempt had a Hold, the ledger takes `id` and `started_at` from it, so that a call is settled once and in the
    period it was reserved in.
    """

    tenant: str
    id: UUID
    request_id: str
    attempt: int
    started_at: datetime
    user_id: str
    key_id: str
    agent_id: str | None
    dialect: str
    provider: str
    model: str
    credential: str
    operation: str
    reason: str
    experiment: str | None
    arm: str | None
    streamed: bool
    outcome: str
    error_code: str | None
    input_tokens: int
    output_tokens: int
    cached_tokens: int
    cache_write_tokens: int
    estimated: bool
    cost_nano: int | None
    latency_ms: float
    first_token_ms: float | None

    @property
    def account(self) -> Account:
        """Whom it is charged to."""
        return Account(self.tenant, self.user_id, self.key_id, self.agent_id)


COLUMNS = (*(field.name for field in fields(LedgerRow) if field.name != "tenant"), "reserved_nano")
_plain: Callable[[LedgerRow], tuple[Any, ...]] = attrgetter(*COLUMNS[:-1])
_ID, _STARTED_AT = COLUMNS.index("id"), COLUMNS.index("started_at")


@dataclass(slots=True, eq=False)
class Waiting:
    """A row on its way: with what was held for it, and whether Redis has a copy of it."""

    row: LedgerRow
    hold: Hold | None
    values: tuple[Any, ...]
    """In the order of COLUMNS."""
    spooled: bool = False

    @property
    def id(self) -> UUID:
        """The row's primary key."""
        id: UUID = self.values[_ID]
        return id

    @property
    def charged_at(self) -> datetime:
        """The moment whose periods it is charged to."""
        moment: datetime = self.values[_STARTED_AT]
        return moment

    @property
    def charge(self) -> int:
        """Nano-dollars that budgets are charged: the cost, or what was held where the cost is unknown."""
        return self.held if self.row.cost_nano is None else self.row.cost_nano

    @property
    def held(self) -> int:
        """Nano-dollars that were held for it."""
        return self.values[-1] or 0

    @property
    def tokens(self) -> int:
        """What limits on tokens count."""
        return self.row.input_tokens + self.row.output_tokens


def waiting(row: LedgerRow, hold: Hold | None) -> Waiting:
    """A row with its values in order."""
    if hold is None:
        return Waiting(row, None, (*_plain(row), None))
    values = _plain(row)
    return Waiting(row, hold, (hold.id, *values[1:_STARTED_AT], hold.at, *values[_STARTED_AT + 1 :], hold.amount))


def pack(one: Waiting) -> bytes:
    """For the spool in Redis."""
    held = one.hold is not None and bool(one.hold.counters)
    return orjson.dumps({"tenant": one.row.tenant, "held": held, "values": cleaned(one).values})


def unpack(packed: bytes) -> Waiting:
    """What `pack` was given; its hold has an id and an amount only."""
    content = orjson.loads(packed)
    values = list(content["values"])
    values[_ID] = UUID(values[_ID])
    values[_STARTED_AT] = datetime.fromisoformat(values[_STARTED_AT]).astimezone(UTC)
    row = LedgerRow(content["tenant"], *values[:-1])
    hold = None
    if content["held"]:
        hold = Hold(row.id, row.account, row.started_at, values[-1], counters=("spooled",), recorded=True)
    return Waiting(row, hold, tuple(values), spooled=True)


def cleaned(one: Waiting) -> Waiting:
    """The same without what Postgres cannot hold in a text: NUL and halves of surrogate pairs."""
    values = tuple(
        value.replace("\0", "").encode("utf-8", "replace").decode() if isinstance(value, str) else value
        for value in one.values
    )
    return Waiting(one.row, one.hold, values, one.spooled)


def lost_row(tenant: str, id: UUID, amount: int, claim: dict[str, Any]) -> Waiting:
    """The row of an attempt whose replica died: its tokens are those that were claimed, its cost is unknown, and what
    was held is charged to the budgets."""
    started_at = datetime.fromtimestamp(claim["at"], UTC)
    row = LedgerRow(
        tenant=tenant,
        id=id,
        request_id=claim["request_id"],
        attempt=0,
        started_at=started_at,
        user_id=claim["user"],
        key_id=claim["key"],
        agent_id=claim["agent"],
        dialect="",
        provider=claim["provider"],
        model=claim["model"],
        credential="",
        operation="",
        reason="The replica that made this call died before it was accounted.",
        experiment=None,
        arm=None,
        streamed=False,
        outcome=LOST,
        error_code="REPLICA_LOST",
        input_tokens=claim["tokens"],
        output_tokens=0,
        cached_tokens=0,
        cache_write_tokens=0,
        estimated=True,
        cost_nano=None,
        latency_ms=0.0,
        first_token_ms=None,
    )
    hold = Hold(id, row.account, started_at, amount, counters=("lost",), recorded=True)
    return waiting(row, hold)
