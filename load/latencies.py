"""Percentiles that are observations: what is reported has happened to somebody."""

from collections.abc import Sequence
from dataclasses import dataclass


def percentile(ordered: Sequence[int], percent: int) -> int:
    """The nearest-rank percentile of ascending samples: the least one that at least `percent` % are no larger than.

    Raises ValueError without samples or with a percent outside 1 to 100.
    """
    if not ordered:
        raise ValueError("no samples")
    if not 1 <= percent <= 100:
        raise ValueError(f"percent must be 1 to 100, not {percent}")
    return ordered[-(-percent * len(ordered) // 100) - 1]


@dataclass(frozen=True, slots=True)
class LatencySummary:
    """Milliseconds."""

    p50: float
    p95: float
    p99: float
    max: float

    @classmethod
    def of(cls, microseconds: Sequence[int]) -> "LatencySummary | None":
        """The summary of samples in any order; None where there are none."""
        if not microseconds:
            return None
        ordered = sorted(microseconds)
        p50, p95, p99, most = (percentile(ordered, percent) / 1000 for percent in (50, 95, 99, 100))
        return cls(p50, p95, p99, most)
