import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from deployments.retriever.fusion import convex, min_max, rrf, top_k, union

floats = st.floats(-1e6, 1e6, width=32)
vectors = hnp.arrays(np.float32, st.integers(0, 30), elements=floats)
pairs = st.integers(0, 30).flatmap(
    lambda n: st.tuples(hnp.arrays(np.float32, n, elements=floats), hnp.arrays(np.float32, n, elements=floats))
)


@given(vectors)
def test_min_max_lies_between_zero_and_one_and_keeps_the_order(scores: np.ndarray) -> None:
    stretched = min_max(scores)
    assert stretched.dtype == np.float32
    assert ((stretched >= 0) & (stretched <= 1)).all()
    assert (np.diff(stretched[np.argsort(scores, kind="stable")]) >= 0).all()


def test_equal_scores_become_zero_even_when_they_differ_by_rounding() -> None:
    assert min_max(np.full(3, 0.3, dtype=np.float32)).tolist() == [0, 0, 0]
    assert min_max(np.array([1.0, np.nextafter(np.float32(1), 2)], dtype=np.float32)).tolist() == [0, 0]


def test_scores_at_the_edge_of_float32_stay_finite() -> None:
    scores = np.array([-3e38, 3e38, 0], dtype=np.float32)
    assert min_max(scores).tolist() == [0, 1, 0.5]


@given(pairs)
def test_weights_of_one_and_zero_choose_a_side(both: tuple[np.ndarray, np.ndarray]) -> None:
    first, second = both
    assert convex(first, second, 1.0).tolist() == min_max(first).tolist()
    assert convex(first, second, 0.0).tolist() == min_max(second).tolist()


@given(pairs, st.floats(0, 1))
def test_who_is_best_on_both_sides_is_best_in_the_mix(both: tuple[np.ndarray, np.ndarray], weight: float) -> None:
    first, second = both
    if first.size:
        first[0], second[0] = first.max() + 1, second.max() + 1
        fused = convex(first, second, weight)
        assert fused[0] == fused.max()


@given(vectors, st.integers(0, 40))
def test_top_k_agrees_with_a_full_stable_sort(scores: np.ndarray, k: int) -> None:
    assert top_k(scores, k).tolist() == np.argsort(-scores, kind="stable")[:k].tolist()


@pytest.mark.parametrize("k", [0, -1])
def test_no_place_means_no_candidate(k: int) -> None:
    assert top_k(np.ones(3, dtype=np.float32), k).tolist() == []


def test_reciprocal_ranks_add_up() -> None:
    fused = rrf(np.array([7, 3]), np.array([3, 9]), k=60)
    assert fused == {3: 1 / 62 + 1 / 61, 7: 1 / 61, 9: 1 / 62}
    assert list(fused) == [3, 7, 9]


@given(st.permutations(range(8)), st.permutations(range(8)))
def test_who_is_ahead_in_both_orders_is_ahead_in_the_fused_one(first: list[int], second: list[int]) -> None:
    fused = list(rrf(np.array(first), np.array(second)))
    for a in range(8):
        for b in range(8):
            if first.index(a) < first.index(b) and second.index(a) < second.index(b):
                assert fused.index(a) < fused.index(b)


def test_a_union_has_every_candidate_once() -> None:
    assert union(np.array([5, 1]), np.array([1, 9])).tolist() == [1, 5, 9]
