"""What tokens cost: dated list prices, and what a call comes to, exactly.

Prices are nano-dollars per token ($1 per million tokens is 1000). A few are not whole (37.5): they are exact decimals,
and a call's cost is rounded once, half up, to a whole nano-dollar.
"""

import math
from datetime import date
from decimal import ROUND_HALF_UP, Decimal
from pathlib import Path

import pydantic
import yaml
from pydantic import Field

from deployments.protocols import Usage
from deployments.settings import CONFIGS
from kit.errors import SetupError
from kit.settings import Section


class Rates(Section):
    """Nano-dollars per token. cached_input: read from the provider's cache. cache_write: written to it for its short
    time, cache_write_long: for its long one. None: as `input`, and `cache_write_long` as `cache_write`."""

    input: int = Field(ge=0)
    output: int = Field(ge=0)
    cached_input: Decimal | None = Field(None, ge=0)
    cache_write: Decimal | None = Field(None, ge=0)
    cache_write_long: Decimal | None = Field(None, ge=0)

    @property
    def dearest_prompt(self) -> int:
        """The most that one token of a prompt can cost, rounded up."""
        return max(self.input, *(math.ceil(rate or 0) for rate in (self.cache_write, self.cache_write_long)))


class Tier(Rates):
    """The rates of a call whose whole prompt has more than `above` tokens, for every token of that call."""

    above: int = Field(gt=0)


class Price(Rates):
    """The rates from a day on. request: nano-dollars for each call beside its tokens."""

    start: date = Field(alias="from")
    request: int = Field(0, ge=0)
    tiers: tuple[Tier, ...] = ()

    def rates(self, input_tokens: int) -> Rates:
        """Those of a prompt of this length."""
        reached = [tier for tier in self.tiers if input_tokens > tier.above]
        return max(reached, key=lambda tier: tier.above) if reached else self

    def cost(self, usage: Usage) -> int:
        """Nano-dollars of a call."""
        rates = self.rates(usage.input_tokens)
        cached = min(usage.cached_tokens, usage.input_tokens)
        written = min(usage.cache_write_tokens, usage.input_tokens - cached)
        fresh = usage.input_tokens - cached - written
        whole = self.request + fresh * rates.input + usage.output_tokens * rates.output
        if not cached and not written:
            return whole
        read_rate = rates.input if rates.cached_input is None else rates.cached_input
        write_rate = Decimal(rates.input if rates.cache_write is None else rates.cache_write)
        long_rate = write_rate if rates.cache_write_long is None else rates.cache_write_long
        long = min(usage.cache_write_long_tokens, written)
        total = whole + cached * Decimal(read_rate) + (written - long) * write_rate + long * long_rate
        return int(total.to_integral_value(ROUND_HALF_UP))


def price_on(prices: tuple[Price, ...], day: date) -> Price | None:
    """The price on a day: the last one that has begun; None where unknown."""
    return max((price for price in prices if price.start <= day), key=lambda price: price.start, default=None)


PriceTable = dict[str, dict[str, tuple[Price, ...]]]
"""By provider and model."""


def load_prices(file: Path = CONFIGS / "prices.yaml") -> PriceTable:
    """The price table of a file. A model without an entry, or with `null`, has no known price.

    Raises SetupError that lists everything wrong in it.
    """
    try:
        content = yaml.safe_load(file.read_text("utf-8"))
        table = pydantic.TypeAdapter(dict[str, dict[str, tuple[Price, ...] | None]]).validate_python(content)
    except (OSError, yaml.YAMLError) as error:
        raise SetupError(f"{file} cannot be read: {error}", "Restore the file.") from error
    except pydantic.ValidationError as error:
        problems = "; ".join(f"{'.'.join(map(str, e['loc']))}: {e['msg']}" for e in error.errors())
        raise SetupError(f"{file} is wrong: {problems}.", "Correct the file.") from error
    return {provider: {model: prices or () for model, prices in models.items()} for provider, models in table.items()}
