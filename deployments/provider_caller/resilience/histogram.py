"""Durations in buckets that grow by a constant factor, so that those of several replicas add up.

A percentile is off by at most half a bucket, 2.5 %.
"""

import math
from collections import Counter
from collections.abc import Iterable, Mapping

_GROWTH = math.log(1.05)


class Histogram:
    """How many durations (seconds) fell into which bucket."""

    def __init__(self, counts: Mapping[int, int] | None = None) -> None:
        self._counts = Counter(counts or {})

    @classmethod
    def of(cls, seconds: Iterable[float]) -> "Histogram":
        """A histogram of durations."""
        return cls(Counter(round(math.log(max(value, 1e-6)) / _GROWTH) for value in seconds))

    def __len__(self) -> int:
        return self._counts.total()

    @property
    def counts(self) -> dict[int, int]:
        """Bucket to number, to be stored."""
        return dict(self._counts)

    def add(self, other: "Histogram") -> None:
        """Take in the durations of another one."""
        self._counts.update(other._counts)

    def percentile(self, share: float) -> float | None:
        """Seconds within which this share of the durations lies; None where there are none."""
        left = share * len(self)
        for bucket in sorted(self._counts):
            left -= self._counts[bucket]
            if left <= 1e-9:
                return math.exp(bucket * _GROWTH)
        return None
