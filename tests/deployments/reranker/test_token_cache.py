from uuid import UUID

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from deployments.reranker.token_cache import ENTRY_OVERHEAD, TokenCache


def vectors(tokens: int) -> np.ndarray:
    return np.full((tokens, 10), tokens, dtype=np.int8)


def key(number: int) -> tuple[str, UUID]:
    return "acme", UUID(int=number)


def test_the_least_recently_used_goes_first() -> None:
    cache = TokenCache(2 * (ENTRY_OVERHEAD + 50))
    cache.put(key(1), vectors(5))
    cache.put(key(2), vectors(5))
    assert cache.get(key(1)) is not None
    cache.put(key(3), vectors(5))
    assert [cache.get(key(number)) is not None for number in (1, 2, 3)] == [True, False, True]


def test_what_is_larger_than_the_space_is_not_held_and_pushes_nothing_out() -> None:
    cache = TokenCache(ENTRY_OVERHEAD + 50)
    cache.put(key(1), vectors(5))
    cache.put(key(2), vectors(6))
    assert cache.get(key(1)) is not None
    assert cache.get(key(2)) is None


def test_tenants_do_not_see_each_other() -> None:
    cache = TokenCache(10_000)
    cache.put(("acme", UUID(int=1)), vectors(1))
    assert cache.get(("zenith", UUID(int=1))) is None


@given(st.lists(st.tuples(st.integers(0, 6), st.integers(1, 40)), max_size=60))
def test_the_size_is_what_is_held_and_never_over_the_limit(puts: list[tuple[int, int]]) -> None:
    cache = TokenCache(1500)
    for number, tokens in puts:
        cache.put(key(number), vectors(tokens))
        held = [entry for entry in map(cache.get, map(key, range(7))) if entry is not None]
        assert cache.size == sum(entry.nbytes + ENTRY_OVERHEAD for entry in held) <= 1500
