"""Calendar periods of budgets, in UTC."""

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Literal

PeriodName = Literal["day", "month"]


@dataclass(frozen=True, slots=True)
class Period:
    """From `start` to before `end`. label: `2026-11-21` or `2026-11`, part of the counter's key."""

    label: str
    start: datetime
    end: datetime


_current: dict[PeriodName, Period] = {}


def period_of(name: PeriodName, moment: datetime) -> Period:
    """The period that a moment belongs to. The last one is kept: nearly every call asks for the same."""
    known = _current.get(name)
    if known is not None and known.start <= moment < known.end:
        return known
    _current[name] = period = _day(moment) if name == "day" else _month(moment)
    return period


def _day(moment: datetime) -> Period:
    start = moment.astimezone(UTC).replace(hour=0, minute=0, second=0, microsecond=0)
    end = datetime.fromtimestamp(start.timestamp() + 86_400, UTC)
    return Period(f"{start:%Y-%m-%d}", start, end)


def _month(moment: datetime) -> Period:
    start = moment.astimezone(UTC).replace(day=1, hour=0, minute=0, second=0, microsecond=0)
    years, month = divmod(start.month, 12)
    end = start.replace(year=start.year + years, month=month + 1)
    return Period(f"{start:%Y-%m}", start, end)
