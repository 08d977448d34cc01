"""What a call costs by configs/prices.yaml, reckoned apart from the product: exact fractions, rounded once, half up."""

from dataclasses import dataclass
from datetime import date
from fractions import Fraction
from math import floor
from pathlib import Path
from typing import Any

import yaml

FILE = Path(__file__).resolve().parents[2] / "configs" / "prices.yaml"


@dataclass(frozen=True, slots=True)
class Tokens:
    """Of one attempt. `input` is the whole prompt, `written_long` a part of `written`."""

    input: int
    cached: int
    written: int
    output: int
    written_long: int = 0


class PriceBook:
    """The prices of a file, by provider, model and day."""

    def __init__(self, file: Path = FILE) -> None:
        self._models: dict[str, dict[str, list[dict[str, Any]] | None]] = yaml.safe_load(file.read_text("utf-8"))

    def cost(self, provider: str, model: str, day: date, tokens: Tokens) -> int | None:
        """Nano-dollars, None where the price is unknown."""
        listed = [price for price in self._models.get(provider, {}).get(model) or () if price["from"] <= day]
        if not listed:
            return None
        price = max(listed, key=lambda one: one["from"])
        rates = price
        for tier in sorted(price.get("tiers", ()), key=lambda one: one["above"]):
            if tokens.input > tier["above"]:
                rates = tier
        cached = _rate(rates, "cached_input", "input")
        written = _rate(rates, "cache_write", "input")
        long = _rate(rates, "cache_write_long", "cache_write", "input")
        fresh = tokens.input - tokens.cached - tokens.written
        exact: Fraction = (
            Fraction(price.get("request", 0))
            + fresh * _rate(rates, "input")
            + tokens.cached * cached
            + (tokens.written - tokens.written_long) * written
            + tokens.written_long * long
            + tokens.output * _rate(rates, "output")
        )
        return floor(exact + Fraction(1, 2))


def _rate(rates: dict[str, Any], *names: str) -> Fraction:
    """The first of these that is stated."""
    return next(Fraction(str(rates[name])) for name in names if rates.get(name) is not None)
