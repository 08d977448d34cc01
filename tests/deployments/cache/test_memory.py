from deployments.cache.memory import ExpiringMap


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


def test_what_is_too_old_is_forgotten() -> None:
    clock = Clock()
    entries = ExpiringMap(100, clock)
    entries.put("a", b"1", 10)
    clock.now = 9.9
    assert entries.get("a") == b"1"
    clock.now = 10
    assert entries.get("a") is None
    assert len(entries) == 0


def test_the_least_recently_used_makes_room() -> None:
    entries = ExpiringMap(3, Clock())
    for key in "abc":
        entries.put(key, b"1", 10)
    assert entries.get("a") == b"1"
    entries.put("d", b"1", 10)
    assert (entries.get("b"), entries.get("a"), entries.get("d")) == (None, b"1", b"1")


def test_a_replaced_value_does_not_count_twice() -> None:
    entries = ExpiringMap(4, Clock())
    entries.put("a", b"12", 10)
    entries.put("a", b"34", 10)
    entries.put("b", b"56", 10)
    assert (entries.get("a"), entries.get("b")) == (b"34", b"56")


def test_what_is_larger_than_the_whole_is_not_kept() -> None:
    entries = ExpiringMap(3, Clock())
    entries.put("a", b"1", 10)
    entries.put("b", b"1234", 10)
    assert (entries.get("a"), entries.get("b")) == (b"1", None)
