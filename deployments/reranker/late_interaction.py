"""Late interaction (MaxSim): each word of the question looks for its best match among the words of a passage.

Khattab, Zaharia: ColBERT (2020), here over the token vectors that the sentence model computes anyway.
"""

from collections.abc import Iterator, Sequence

import numpy as np
from numpy.typing import NDArray

Int8Vectors = NDArray[np.int8]
"""int8 [t, d]: token vectors, value / 127."""

SCALE = 127.0

BLOCK_TOKENS = 512
"""Passage tokens that are compared together: as float32 they stay in a core's second-level cache."""


def quantize(vectors: NDArray[np.float32]) -> Int8Vectors:
    """float32 [t, d], L2-normalised, as int8 [t, d]. Loses less than 0.004 in each component."""
    quantized: Int8Vectors = np.clip(np.rint(vectors * SCALE), -SCALE, SCALE).astype(np.int8)
    return quantized


def max_similarity(question: NDArray[np.float32], passages: Sequence[Int8Vectors]) -> NDArray[np.float32]:
    """Mean over the question's tokens of the best cosine in each passage: float32 [n], NaN for an empty passage.

    question: float32 [t, d], L2-normalised. CPU-bound: 50 passages of 130 tokens take 4 ms on one core.
    """
    scores = np.full(len(passages), np.nan, dtype=np.float32)
    if not len(question):
        return scores
    longest = max((len(passage) for passage in passages), default=0)
    block = np.empty((max(BLOCK_TOKENS, longest), question.shape[1]), dtype=np.float32)
    weights = np.ascontiguousarray(question.T) / np.float32(SCALE)
    for positions in _blocks([len(passage) for passage in passages], len(block)):
        lengths = [len(passages[position]) for position in positions]
        ends = np.cumsum(lengths, dtype=np.intp)
        for position, end in zip(positions, ends, strict=True):
            block[end - len(passages[position]) : end] = passages[position]
        similarities = block[: ends[-1]] @ weights
        best = np.maximum.reduceat(similarities, ends - np.array(lengths, dtype=np.intp), axis=0)
        scores[positions] = best.mean(axis=1)
    return scores


def _blocks(lengths: Sequence[int], room: int) -> Iterator[list[int]]:
    """Positions of the passages that are not empty, in runs that fit into `room` tokens."""
    run: list[int] = []
    used = 0
    for position, length in enumerate(lengths):
        if run and used + length > room:
            yield run
            run, used = [], 0
        if length:
            run.append(position)
            used += length
    if run:
        yield run
