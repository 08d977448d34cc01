"""A small map that forgets: by age, and the least recently used first when it is full."""

from collections import OrderedDict
from collections.abc import Callable


class ExpiringMap:
    """At most `max_bytes` of values. `clock` gives seconds that never go back."""

    def __init__(self, max_bytes: int, clock: Callable[[], float]) -> None:
        self._max_bytes = max_bytes
        self._clock = clock
        self._bytes = 0
        self._entries: OrderedDict[str, tuple[float, bytes]] = OrderedDict()

    def __len__(self) -> int:
        return len(self._entries)

    def get(self, key: str) -> bytes | None:
        """The value, unless it is too old or was never there."""
        entry = self._entries.get(key)
        if entry is None:
            return None
        if entry[0] <= self._clock():
            self._drop(key)
            return None
        self._entries.move_to_end(key)
        return entry[1]

    def put(self, key: str, value: bytes, seconds: float) -> None:
        """Keep a value for some seconds. One that is larger than the whole map is not kept."""
        self._drop(key)
        if len(value) > self._max_bytes:
            return
        self._entries[key] = (self._clock() + seconds, value)
        self._bytes += len(value)
        while self._bytes > self._max_bytes:
            self._drop(next(iter(self._entries)))

    def _drop(self, key: str) -> None:
        entry = self._entries.pop(key, None)
        if entry is not None:
            self._bytes -= len(entry[1])
