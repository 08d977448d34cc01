"""How dense and lexical results become one order. Pure functions on arrays."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

Scores = NDArray[np.float32]
"""float32 [n], one score for each candidate, larger is better."""
Order = NDArray[np.intp]
"""intp [k], positions of candidates, best first."""


def min_max(scores: Scores) -> Scores:
    """Scores stretched to [0, 1]. Equal scores say nothing about the order and all become 0."""
    if scores.size == 0:
        return scores.astype(np.float32)
    low, high = float(scores.min()), float(scores.max())
    # A spread this small against the scores themselves is rounding, which must not become an order.
    if high - low <= 1e-6 * max(abs(low), abs(high)):
        return np.zeros(scores.shape, dtype=np.float32)
    # In float64: neither the difference of two large float32 nor its inverse overflows.
    stretched = (scores.astype(np.float64) - low) / (high - low)
    return stretched.astype(np.float32)


def convex(first: Scores, second: Scores, weight: float) -> Scores:
    """`weight` of the first and the rest of the second, each stretched to [0, 1] over the same candidates.

    Bruch, Gai, Ingber: An Analysis of Fusion Functions for Hybrid Retrieval (2023).
    """
    fused: Scores = (weight * min_max(first) + (1.0 - weight) * min_max(second)).astype(np.float32)
    return fused


def rrf(first: NDArray[Any], second: NDArray[Any], k: int = 60) -> dict[int, float]:
    """Reciprocal rank fusion of two orders (candidates, best first): each candidate's sum of 1 / (k + rank).

    Cormack, Clarke, Buettcher: Reciprocal Rank Fusion (2009). Ranks start at 1; who is absent from an order gets
    nothing from it. The result is ordered, best first, ties by the first order.
    """
    sums: dict[int, float] = {}
    for order in (first, second):
        for rank, candidate in enumerate(order.tolist(), start=1):
            sums[candidate] = sums.get(candidate, 0.0) + 1.0 / (k + rank)
    return dict(sorted(sums.items(), key=lambda item: -item[1]))


def top_k(scores: Scores, k: int) -> Order:
    """Positions of the k largest scores, best first; of equal scores the earlier position wins."""
    if k <= 0 or scores.size == 0:
        return np.empty(0, dtype=np.intp)
    if k < scores.size:
        # Everything that ties with the k-th is kept, so that the choice among ties does not depend on the partition.
        threshold = np.partition(scores, scores.size - k)[scores.size - k]
        candidates = np.flatnonzero(scores >= threshold)
    else:
        candidates = np.arange(scores.size)
    order: Order = candidates[np.argsort(-scores[candidates], kind="stable")][:k]
    return order


def union(first: Order, second: Order) -> Order:
    """The candidates of both orders, each once, ascending: what fusion compares."""
    return np.union1d(first, second).astype(np.intp)
