"""Operation type of a question, learnt from labelled examples.

One ridge regression for each operation over the question's sentence vector and its words, side by side; the highest
score wins. A second one over the words alone answers at once where it is sure, and everything where there is no
vector. Both are fitted when the router starts: no weights are shipped that another embedding model would make wrong.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from deployments.protocols import Embedder, Vectors
from deployments.router.examples import Example
from deployments.router.rules import OPERATIONS, excerpt
from deployments.router.vocabulary import Vocabulary

RIDGE = 1.0
"""Strength of the penalty, and BIAS the constant beside the features: best in tenfold cross-validation of the
examples, where neither matters much."""
BIAS = 0.3

SURE_MARGIN = 0.45
"""Lead of the words' first choice over the second from which no vector is needed. In cross-validation 99 of 100 such
answers are right, and a third of the examples have one."""

LEAST_SCORE = 0.1
"""Below it nothing in the question is like any example."""


@dataclass(frozen=True, slots=True)
class Guess:
    """margin: the score's lead over the second best operation."""

    operation: str
    margin: float

    @property
    def sure(self) -> bool:
        """Whether a sentence vector would hardly change it (of a guess by words)."""
        return self.margin >= SURE_MARGIN


class WordClassifier:
    """By words alone. Needs no embedder, so it lives wherever questions arrive."""

    def __init__(self, examples: Sequence[Example]) -> None:
        texts = [excerpt(example.text) for example in examples]
        self.vocabulary = Vocabulary(texts)
        self._weights, self._bias = _fitted(self.vocabulary.matrix(texts), examples)

    def guess(self, text: str) -> Guess | None:
        """The type of a question's excerpt; None where it has nothing in common with the examples."""
        rows = self.vocabulary.rows(text)
        return _best(self._bias + _summed(self._weights, rows)) if rows else None


class Classifier:
    """By sentence vector and words."""

    def __init__(self, words: WordClassifier, examples: Sequence[Example], vectors: Vectors) -> None:
        """vectors: float32 [n, d], L2-normalised, a row for each example."""
        self._words = words
        lexical = words.vocabulary.matrix([excerpt(example.text) for example in examples])
        weights, self._bias = _fitted(np.hstack([vectors, lexical]), examples)
        self._semantic, self._lexical = weights[: vectors.shape[1]], weights[vectors.shape[1] :]

    @classmethod
    async def embedded(cls, words: WordClassifier, examples: Sequence[Example], embedder: Embedder) -> "Classifier":
        """Embed the examples once."""
        texts = [example.text for example in examples]
        parts = [
            (await embedder.embed(texts[start : start + _AT_ONCE])).sentences
            for start in range(0, len(texts), _AT_ONCE)
        ]
        return cls(words, examples, np.concatenate(parts))

    def guess(self, text: str, vector: Vectors) -> Guess | None:
        """The type of a question from its excerpt and vector (float32 [d], L2-normalised); None where it is like no
        example."""
        scores = self._bias + vector @ self._semantic
        rows = self._words.vocabulary.rows(text)
        if rows:
            scores += _summed(self._lexical, rows)
        return _best(scores)


_AT_ONCE = 64
"""Examples in one call: the embedder bounds the texts of a call, and other callers wait less."""


def _fitted(features: Vectors, examples: Sequence[Example]) -> tuple[Vectors, Vectors]:
    """Weights float32 [d, operations] and biases [operations], in the dual form: there are fewer examples than
    features."""
    labels = [OPERATIONS.index(example.operation) for example in examples]
    targets = np.full((len(labels), len(OPERATIONS)), -1 / (len(OPERATIONS) - 1))
    targets[np.arange(len(labels)), labels] = 1
    wide = features.astype(np.float64)
    kernel = wide @ wide.T + BIAS**2 + RIDGE * np.eye(len(labels))
    dual = np.linalg.solve(kernel, targets)
    bias: NDArray[np.float64] = BIAS**2 * dual.sum(axis=0)
    return (wide.T @ dual).astype(np.float32), bias.astype(np.float32)


def _summed(weights: Vectors, rows: list[int]) -> Vectors:
    """The product of a text's unit vector and the weights."""
    total: Vectors = np.add.reduce(weights.take(rows, axis=0)) * np.float32(len(rows) ** -0.5)
    return total


def _best(scores: Vectors) -> Guess | None:
    # Eight numbers: plain Python is faster than numpy.
    found = scores.tolist()
    first, second = sorted(found, reverse=True)[:2]
    return Guess(OPERATIONS[found.index(first)], first - second) if first >= LEAST_SCORE else None
