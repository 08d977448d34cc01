"""Usage, budgets and limits as clients see them. Amounts of money are decimal strings of US dollars."""

from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Annotated, Any, Literal
from uuid import UUID

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationInfo, field_validator, model_validator

from deployments.provider_caller.money.dollars import DIGITS, nano_dollars
from deployments.provider_caller.money.period import PeriodName
from deployments.provider_caller.money.rules import Scope

MAX_DOLLARS = 9_000_000
"""Nano-dollars up to this are exact in Redis's scripts, whose numbers have 53 bits."""
MAX_DAYS = 366
MAX_LIMIT = 2_000_000_000

Group = Literal["day", "model", "provider", "user", "key", "agent", "operation", "outcome"]
Mode = Literal["hard", "alert"]


def _no_boolean(value: Any) -> Any:
    if isinstance(value, bool):
        raise ValueError("must be a decimal number or a string with one")
    return value


Dollars = Annotated[
    Decimal,
    BeforeValidator(_no_boolean),
    Field(ge=0, le=MAX_DOLLARS, decimal_places=DIGITS, description="US dollars: a number, or a string like `12.50`."),
]
Count = Annotated[int | None, Field(None, ge=1, le=MAX_LIMIT, strict=True)]


class Subject(BaseModel):
    """Whom a budget or limit is for."""

    model_config = ConfigDict(extra="forbid")

    scope: Scope = "tenant"
    subject: str | None = Field(
        None,
        min_length=1,
        max_length=200,
        validate_default=True,
        description="Id of the user, API key or agent; with the scope `tenant` your own tenant, also by default.",
    )

    @field_validator("subject")
    @classmethod
    def _complete(cls, value: str | None, info: ValidationInfo) -> str | None:
        if value is not None and not value.isprintable():
            raise ValueError("must not contain control characters")
        scope = info.data.get("scope", "tenant")
        if value is None and scope != "tenant":
            raise ValueError(f"is required with the scope {scope}")
        return value


class BudgetTerms(BaseModel):
    """What of a budget can be changed."""

    model_config = ConfigDict(extra="forbid")

    amount_usd: Dollars
    period: PeriodName = Field("month", description="Calendar day or month, UTC.")
    mode: Mode = Field("hard", description="`hard` refuses what is not covered; `alert` tells at 80 % and 100 %.")

    @property
    def nano(self) -> int:
        """The amount in nano-dollars."""
        return nano_dollars(self.amount_usd)


class NewBudget(BudgetTerms, Subject):
    """A budget to be made."""


class Budget(BaseModel):
    """A budget and its present period. reserved_usd: for calls that run now; null while Redis is lost.

    state: `warning` from 80 % spent, `exceeded` from 100 %.
    """

    id: UUID
    scope: Scope
    subject: str
    amount_usd: str
    period: PeriodName
    mode: Mode
    spent_usd: str
    reserved_usd: str | None
    remaining_usd: str
    period_start: datetime
    period_end: datetime
    state: Literal["ok", "warning", "exceeded"]
    created_at: datetime
    updated_at: datetime


class BudgetList(BaseModel):
    """A page of budgets. next_cursor: null on the last one."""

    budgets: list[Budget]
    next_cursor: str | None


class LimitTerms(BaseModel):
    """What of a limit can be changed; null: no such limit. At least one is set."""

    model_config = ConfigDict(extra="forbid")

    requests_per_minute: Count
    tokens_per_minute: Count
    concurrency: Annotated[Count, Field(description="Calls at once.")]

    @model_validator(mode="after")
    def _limits_something(self) -> "LimitTerms":
        if self.requests_per_minute is None and self.tokens_per_minute is None and self.concurrency is None:
            raise ValueError("one of requests_per_minute, tokens_per_minute and concurrency must be set")
        return self


class NewLimit(LimitTerms, Subject):
    """A limit to be made."""


class Limit(BaseModel):
    """A limit."""

    id: UUID
    scope: Scope
    subject: str
    requests_per_minute: int | None
    tokens_per_minute: int | None
    concurrency: int | None
    created_at: datetime
    updated_at: datetime


class LimitList(BaseModel):
    """A page of limits. next_cursor: null on the last one."""

    limits: list[Limit]
    next_cursor: str | None


class Page(BaseModel):
    """Which part of a list."""

    model_config = ConfigDict(extra="forbid")

    limit: int = Field(20, ge=1, le=100, description="Entries on a page.")
    cursor: str | None = Field(None, max_length=2000, description="`next_cursor` of the page before.")


class UsageQuery(Page):
    """Which usage, and how it is summed up."""

    model_config = ConfigDict(extra="forbid", populate_by_name=True)

    start: datetime = Field(
        default_factory=lambda: datetime.now(UTC).replace(day=1, hour=0, minute=0, second=0, microsecond=0),
        alias="from",
        description="Date or time, ISO 8601, UTC; by default the beginning of the month.",
    )
    to: datetime = Field(
        default_factory=lambda: datetime.now(UTC),
        validate_default=True,
        description="Before this; by default now.",
    )
    group_by: list[Group] = Field(
        default_factory=list, description="Any of day, model, provider, user, key, agent, operation, outcome."
    )
    detail: bool = Field(False, description="True: the rows of the ledger, newest first.")

    @field_validator("group_by", mode="before")
    @classmethod
    def _words(cls, value: Any) -> Any:
        return [word.strip() for word in value.split(",") if word.strip()] if isinstance(value, str) else value

    @field_validator("group_by")
    @classmethod
    def _once(cls, value: list[Group]) -> list[Group]:
        if len(set(value)) < len(value):
            raise ValueError("must name each group once")
        return value

    @field_validator("start", "to")
    @classmethod
    def _utc(cls, value: datetime) -> datetime:
        return value.replace(tzinfo=UTC) if value.tzinfo is None else value.astimezone(UTC)

    @field_validator("to")
    @classmethod
    def _after_start(cls, value: datetime, info: ValidationInfo) -> datetime:
        start = info.data.get("start")
        if start is not None and not timedelta() < value - start <= timedelta(days=MAX_DAYS):
            raise ValueError(f"must be after `from`, by at most {MAX_DAYS} days")
        return value

    @field_validator("detail")
    @classmethod
    def _without_groups(cls, value: bool, info: ValidationInfo) -> bool:
        if value and info.data.get("group_by"):
            raise ValueError("must not be true together with group_by")
        return value


class Totals(BaseModel):
    """Sums. cost_usd leaves out `unpriced_calls`, whose cost nobody knows; `estimated_calls` have counts of our own."""

    calls: int
    input_tokens: int
    cached_tokens: int
    cache_write_tokens: int
    output_tokens: int
    cost_usd: str
    unpriced_calls: int
    estimated_calls: int
    latency_p50_ms: float | None
    latency_p95_ms: float | None


class UsageGroup(Totals):
    """Sums of one group; `group` has a value for each of `group_by`."""

    group: dict[str, str]


class UsageRow(BaseModel):
    """One attempt at a provider, as the ledger has it. cost_usd: null where nobody knows."""

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
    cost_usd: str | None
    latency_ms: float
    first_token_ms: float | None


class Usage(BaseModel):
    """Usage of a period: sums of all of it, and a page of groups or of rows. next_cursor: null on the last page."""

    model_config = ConfigDict(serialize_by_alias=True, populate_by_name=True)

    start: datetime = Field(alias="from")
    end: datetime = Field(alias="to")
    totals: Totals
    groups: list[UsageGroup]
    rows: list[UsageRow]
    next_cursor: str | None
