"""Experiments as clients see them."""

from datetime import datetime
from typing import Annotated, Literal
from uuid import UUID

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, model_validator

from deployments.router.tenants import Operation

MAX_ARMS = 10

State = Literal["running", "stopped"]


def _printable(value: str) -> str:
    if not value.isprintable() or value != value.strip():
        raise ValueError("must be printable text without spaces around it")
    return value


Name = Annotated[str, Field(min_length=1, max_length=100), AfterValidator(_printable)]
Weight = Annotated[float, Field(ge=0, le=1_000_000, allow_inf_nan=False)]


class Arm(BaseModel):
    """model: an id as /v1/models lists it, provider/model, or `auto`, `auto:cost`, `auto:speed`, `auto:quality`.
    weight: relative to the other arms."""

    model_config = ConfigDict(extra="forbid")

    name: Name
    model: str = Field(min_length=1, max_length=300)
    weight: Weight = 1.0


class NewExperiment(BaseModel):
    """The first arm is the one that the others are compared with."""

    model_config = ConfigDict(extra="forbid")

    name: Name
    operation: Operation | None = Field(None, description="Operation type that takes part; none: all.")
    arms: list[Arm] = Field(min_length=2, max_length=MAX_ARMS)
    state: State = "running"

    @model_validator(mode="after")
    def _arms_can_be_told_apart(self) -> "NewExperiment":
        if len({arm.name for arm in self.arms}) < len(self.arms):
            raise ValueError("arms must have different names")
        if not any(arm.weight for arm in self.arms):
            raise ValueError("arms must have a weight above 0 among them")
        return self


class ExperimentUpdate(BaseModel):
    """What is left out stays. Operation, arms and their models stay for good: calls of before would be counted with
    calls of after. weights: by arm name."""

    model_config = ConfigDict(extra="forbid")

    name: Name | None = None
    state: State | None = None
    weights: dict[str, Weight] | None = None


class Estimate(BaseModel):
    """A figure with its 95 % interval; null where nothing, or too little, is known."""

    value: float | None
    low: float | None
    high: float | None


class ArmReport(BaseModel):
    """What came of one arm. cost_usd and latency_ms: means over calls; priced_calls: those whose cost is known."""

    name: str
    model: str
    weight: float
    calls: int
    users: int
    priced_calls: int
    success_rate: Estimate
    cost_usd: Estimate
    latency_ms: Estimate


class Comparison(Estimate):
    """A difference. `shown`: its interval leaves out zero. sentence: the same in words."""

    shown: bool
    sentence: str


class Difference(BaseModel):
    """One arm against the first."""

    arm: str
    against: str
    success_rate: Comparison
    cost_usd: Comparison
    latency_ms: Comparison


class Report(BaseModel):
    """note: how to read it."""

    confidence: float
    arms: list[ArmReport]
    differences: list[Difference]
    note: str


class Experiment(BaseModel):
    """An experiment. Times are ISO 8601, UTC."""

    id: UUID
    name: str
    operation: str | None
    arms: list[Arm]
    state: State
    created_at: datetime
    updated_at: datetime


class ExperimentWithReport(Experiment):
    """As lists show it."""

    report: Report


class ExperimentList(BaseModel):
    """Newest first. next_cursor: for the next page, null at the end."""

    experiments: list[ExperimentWithReport]
    next_cursor: str | None


class Page(BaseModel):
    """Which part of a list."""

    limit: int = Field(20, ge=1, le=100)
    cursor: UUID | None = None
