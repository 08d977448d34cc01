"""A limit that holds for every window, wherever it begins.

The generic cell rate algorithm of `kit.gcra` lets a whole burst pass at once and goes on refilling, so that twice the
limit may fall into one minute; a provider that counts by the minute would refuse. Here what was taken is kept in
buckets (a second for a minute, a quarter of an hour for a day) until the whole window has passed.
"""

from dataclasses import dataclass

MINUTE = 60.0
DAY = 86_400.0


@dataclass(frozen=True, slots=True)
class Limit:
    """`amount` units in any `seconds`. name: as people know it, also the end of its key."""

    name: str
    amount: int
    seconds: float

    @property
    def bucket(self) -> float:
        """Seconds of one bucket: what was taken counts for the window and at most this long after it."""
        return self.seconds / (60 if self.seconds <= MINUTE else 96)


class LocalWindow:
    """One limit in this process alone, for as long as Redis is lost."""

    def __init__(self) -> None:
        self._taken: dict[int, int] = {}

    def wait(self, limit: Limit, amount: int, now: float) -> float:
        """Seconds until `amount` fits; 0: now."""
        ends = {index: (index + 1) * limit.bucket + limit.seconds for index in self._taken}
        self._taken = {index: taken for index, taken in self._taken.items() if ends[index] > now}
        too_much = sum(self._taken.values()) + min(amount, limit.amount) - limit.amount
        if too_much <= 0:
            return 0.0
        for index in sorted(self._taken):
            too_much -= self._taken[index]
            if too_much <= 0:
                return ends[index] - now
        return limit.seconds

    def take(self, limit: Limit, amount: int, now: float) -> None:
        """Count it."""
        index = int(now // limit.bucket)
        self._taken[index] = self._taken.get(index, 0) + amount
