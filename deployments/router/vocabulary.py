"""Which words and pairs of words stand in a question: how it is said tells its type as much as what it is about."""

import itertools
import re
from collections import Counter
from collections.abc import Sequence

import numpy as np

from deployments.protocols import Vectors

LEAST_TEXTS = 2
"""Texts that a word or pair must stand in: what stands in one alone is learnt by heart and not generalised."""

_TOKEN = re.compile(r"[^\W\d_]+|\d+|[^\w\s]")
_NUMBER = "0"
_START, _END = "^", "$"
_EDGES = 2
"""Known of every text, so that they alone say nothing."""


def tokens(text: str) -> list[str]:
    """Words, signs and any number as `0` of a lower-case text, between a start and an end."""
    return [_START, *(_NUMBER if token.isdigit() else token for token in _TOKEN.findall(text)), _END]


class Vocabulary:
    """The words and pairs that a set of texts has in common, each with its row."""

    def __init__(self, texts: Sequence[str]) -> None:
        counts = Counter(feature for text in texts for feature in _features(text))
        common = sorted(feature for feature, count in counts.items() if count >= LEAST_TEXTS)
        self._rows = {feature: row for row, feature in enumerate(common)}

    def __len__(self) -> int:
        return len(self._rows)

    def rows(self, text: str) -> list[int]:
        """The rows of the known words and pairs of a lower-case text, each once; none where only its edges are."""
        known = self._rows
        rows = [known[feature] for feature in _features(text) if feature in known]
        return rows if len(rows) > _EDGES else []

    def matrix(self, texts: Sequence[str]) -> Vectors:
        """float32 [n, len(self)]: 1/sqrt(k) in each of a text's k rows, so that a text is a unit vector or zero."""
        matrix = np.zeros((len(texts), len(self)), dtype=np.float32)
        for row, text in zip(matrix, texts, strict=True):
            known = self.rows(text)
            if known:
                row[known] = len(known) ** -0.5
        return matrix


def _features(text: str) -> set[str]:
    found = tokens(text)
    return {*found, *map(" ".join, itertools.pairwise(found))}
