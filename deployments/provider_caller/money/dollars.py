"""Nano-dollars as people write them."""

from decimal import Decimal

NANO = 1_000_000_000
DIGITS = 9


def dollars(nano: int) -> str:
    """US dollars as a plain decimal, without zeros at the end: `12.5`, `0.000002`."""
    sign, rest = ("-", -nano) if nano < 0 else ("", nano)
    whole, fraction = divmod(rest, NANO)
    return f"{sign}{whole}.{fraction:09}".rstrip("0").removesuffix(".")


def nano_dollars(amount: Decimal) -> int:
    """Raises ValueError where the amount has more than nine decimals."""
    scaled = amount.scaleb(DIGITS)
    if scaled != scaled.to_integral_value():
        raise ValueError(f"must have at most {DIGITS} decimals")
    return int(scaled)
