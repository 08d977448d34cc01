"""A tenant's configuration as clients see it: each value with where it comes from."""

from decimal import Decimal
from typing import Annotated, Generic, Literal, TypeVar

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, PlainSerializer, model_validator

from deployments.router.policy import PolicyName
from deployments.router.tenants import EntryText, Failover, Operation, Rules, TenantModel

Origin = Literal["platform default", "tenant"]

T = TypeVar("T")

NANO_PER_MILLION_USD = 1000
"""Nano-dollars per token in one dollar per million tokens."""
MAX_PRICE = Decimal(1_000_000)
MAX_MODELS = 200
MAX_AGENTS = 1000


def _exact(value: Decimal | None) -> Decimal | None:
    if value is not None and value * NANO_PER_MILLION_USD % 1:
        raise ValueError("must be a multiple of 0.001, which is one nano-dollar per token")
    return value


def _printable(value: str) -> str:
    if not value.isprintable() or value != value.strip():
        raise ValueError("must be printable text without spaces around it")
    return value


_AS_NUMBER = PlainSerializer(float, return_type=float, when_used="json-unless-none")
Dollars = Annotated[Decimal | None, Field(ge=0, le=MAX_PRICE), AfterValidator(_exact), _AS_NUMBER]
Id = Annotated[str, Field(min_length=1, max_length=200), AfterValidator(_printable)]
ModelList = Annotated[list[EntryText], Field(min_length=1, max_length=50)]


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid")


class RegisteredModel(_Strict):
    """A model of your own account with a provider, a fine-tuned one for instance. It is reached with your own key.

    operation: the operation type that it was made for, which it then answers first. Prices are dollars per million
    tokens, null where unknown.
    """

    provider: Id
    model: Id
    operation: Operation | None = None
    context_window: int | None = Field(None, ge=1, le=2**31 - 1)
    input_price_per_million_usd: Dollars = None
    output_price_per_million_usd: Dollars = None

    @model_validator(mode="after")
    def _both_prices_or_none(self) -> "RegisteredModel":
        if (self.input_price_per_million_usd is None) != (self.output_price_per_million_usd is None):
            raise ValueError("input_price_per_million_usd and output_price_per_million_usd go together")
        return self

    @classmethod
    def of(cls, model: TenantModel) -> "RegisteredModel":
        """As it is stored."""
        return cls(
            provider=model.provider,
            model=model.model,
            operation=model.operation,
            context_window=model.context_window,
            input_price_per_million_usd=_dollars(model.input_price),
            output_price_per_million_usd=_dollars(model.output_price),
        )

    def stored(self) -> TenantModel:
        """As the router reads it."""
        return TenantModel(
            self.provider,
            self.model,
            self.operation,
            self.context_window,
            _nano(self.input_price_per_million_usd),
            _nano(self.output_price_per_million_usd),
        )


class RoutingUpdate(_Strict):
    """policy: what the model `auto` means. rules: by operation, the only models that may answer it, in order. agents:
    by agent id, the same for one agent. Null takes a setting back to the default; what is left out stays."""

    policy: PolicyName | None = None
    rules: dict[Operation, ModelList | None] = Field(default_factory=dict)
    agents: dict[Id, Rules | None] = Field(default_factory=dict, max_length=MAX_AGENTS)


class ConfigUpdate(_Strict):
    """What is left out stays, null goes back to the default. models: replaces the whole list."""

    failover: Failover | None = None
    routing: RoutingUpdate | None = None
    models: list[RegisteredModel] | None = Field(None, max_length=MAX_MODELS)


class Setting(BaseModel, Generic[T]):
    """An effective value."""

    value: T
    origin: Origin


class RoutingConfig(BaseModel):
    """How models are chosen. rules: by operation."""

    policy: Setting[PolicyName]
    rules: dict[str, Setting[list[str]]]
    agents: Setting[dict[str, Rules]]


class Config(BaseModel):
    """Everything that a tenant may set."""

    failover: Setting[Failover]
    routing: RoutingConfig
    models: Setting[list[RegisteredModel]]


def _dollars(nano: int | None) -> Decimal | None:
    return None if nano is None else Decimal(nano) / NANO_PER_MILLION_USD


def _nano(dollars: Decimal | None) -> int | None:
    return None if dollars is None else int(dollars * NANO_PER_MILLION_USD)
