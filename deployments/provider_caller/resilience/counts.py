"""Two counts over the last seconds, kept in a few buckets."""


class SlidingCounts:
    """`first` and `second` over the last `seconds`, to the width of one of twelve buckets. Times never go back."""

    __slots__ = ("_buckets", "_width")

    _BUCKETS = 12

    def __init__(self, seconds: float) -> None:
        self._width = seconds / self._BUCKETS
        self._buckets: dict[int, list[int]] = {}

    def add(self, now: float, first: int, second: int) -> None:
        """Count at a moment."""
        index = int(now // self._width)
        bucket = self._buckets.get(index)
        if bucket is None:
            self._forget(now)
            bucket = self._buckets[index] = [0, 0]
        bucket[0] += first
        bucket[1] += second

    def totals(self, now: float) -> tuple[int, int]:
        """Both counts over the window that ends now."""
        self._forget(now)
        return sum(b[0] for b in self._buckets.values()), sum(b[1] for b in self._buckets.values())

    def by_age(self, now: float) -> list[tuple[float, int, int]]:
        """The counts with their age in seconds."""
        self._forget(now)
        return [(max(0.0, now - index * self._width), b[0], b[1]) for index, b in self._buckets.items()]

    def merge(self, other: "SlidingCounts") -> None:
        """Take in the counts of another window of the same length."""
        for index, (first, second) in other._buckets.items():
            bucket = self._buckets.setdefault(index, [0, 0])
            bucket[0] += first
            bucket[1] += second

    def _forget(self, now: float) -> None:
        oldest = int(now // self._width) - self._BUCKETS
        for index in [index for index in self._buckets if index <= oldest]:
            del self._buckets[index]
