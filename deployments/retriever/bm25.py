"""Lexical scores: BM25 over stemmed words, computed when the index is built and summed when it is asked.

Lucene's variant (Robertson, Zaragoza: The Probabilistic Relevance Framework, 2009), scored eagerly (Lù: BM25S, 2024).
Every score depends on all texts, so a change computes all of them anew, in numpy from kept term counts; only new texts
are read. The same numbers as bm25s, which reads all texts again in Python: seconds, at some thousand passages.
"""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from kit.words import terms

K1 = 1.2
B = 0.75

Vocabulary = dict[str, int]
"""Number of each term. It only grows and is shared by the indexes that come from one another."""


@dataclass(frozen=True, slots=True)
class TermCounts:
    """Text by text, its terms and how often it has them. terms: int32 [p], counts: int32 [p], starts: int64 [n + 1],
    where each text's run begins."""

    terms: NDArray[np.int32]
    counts: NDArray[np.int32]
    starts: NDArray[np.int64]

    def __len__(self) -> int:
        return len(self.starts) - 1


class Bm25Index:
    """An immutable index of texts, addressed by their position. Any number of threads may ask it at once."""

    def __init__(self, vocabulary: Vocabulary, counted: TermCounts) -> None:
        self.size = len(counted)
        self._vocabulary = vocabulary
        self._counted = counted
        rows = np.repeat(np.arange(self.size, dtype=np.int32), np.diff(counted.starts))
        order = np.argsort(counted.terms, kind="stable")
        frequencies = np.bincount(counted.terms, minlength=len(vocabulary))
        self._postings = rows[order]
        self._impacts = _impacts(counted, rows, frequencies, self.size)[order]
        self._offsets = np.concatenate([[0], np.cumsum(frequencies)])

    @classmethod
    def build(cls, texts: Sequence[str]) -> "Bm25Index":
        """Index texts. CPU-bound: about 10,000 passages a second."""
        vocabulary: Vocabulary = {}
        return cls(vocabulary, _count(texts, vocabulary))

    def changed(self, keep: NDArray[np.intp], texts: Sequence[str]) -> "Bm25Index":
        """The index of the texts at the positions `keep`, in this order, and of `texts` after them. One thread at a
        time may derive from an index and its descendants."""
        return Bm25Index(self._vocabulary, _join(_select(self._counted, keep), _count(texts, self._vocabulary)))

    def scores(self, query: str) -> NDArray[np.float32]:
        """Score of each text, float32 [n], 0 where it shares no word with the query."""
        scores = np.zeros(self.size, dtype=np.float32)
        for term in terms(query):
            number = self._vocabulary.get(term)
            if number is not None and number + 1 < len(self._offsets):  # else a younger index brought the term
                run = slice(self._offsets[number], self._offsets[number + 1])
                scores[self._postings[run]] += self._impacts[run]
        return scores

    @property
    def nbytes(self) -> int:
        """Bytes of its arrays."""
        counted = self._counted
        arrays = (counted.terms, counted.counts, counted.starts, self._postings, self._impacts, self._offsets)
        return sum(array.nbytes for array in arrays)


def _impacts(
    counted: TermCounts, rows: NDArray[np.int32], frequencies: NDArray[np.intp], size: int
) -> NDArray[np.float32]:
    """What each (text, term) adds to the score of its text, float32 [p]."""
    lengths = np.bincount(rows, weights=counted.counts, minlength=size)
    mean = lengths.mean() if size else 0.0
    inverse_frequency = np.log1p((size - frequencies + 0.5) / (frequencies + 0.5))
    saturation = counted.counts + K1 * (1 - B + B * lengths[rows] / (mean or 1.0))
    impacts: NDArray[np.float32] = (inverse_frequency[counted.terms] * counted.counts / saturation).astype(np.float32)
    return impacts


def _count(texts: Sequence[str], vocabulary: Vocabulary) -> TermCounts:
    numbers: list[int] = []
    counts: list[int] = []
    starts = [0]
    for text in texts:
        for term, count in Counter(terms(text)).items():
            numbers.append(vocabulary.setdefault(term, len(vocabulary)))
            counts.append(count)
        starts.append(len(numbers))
    return TermCounts(np.array(numbers, np.int32), np.array(counts, np.int32), np.array(starts, np.int64))


def _select(counted: TermCounts, keep: NDArray[np.intp]) -> TermCounts:
    lengths = np.diff(counted.starts)[keep]
    starts = np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64)
    positions = np.repeat(counted.starts[keep] - starts[:-1], lengths) + np.arange(starts[-1])
    return TermCounts(counted.terms[positions], counted.counts[positions], starts)


def _join(first: TermCounts, second: TermCounts) -> TermCounts:
    return TermCounts(
        np.concatenate([first.terms, second.terms]),
        np.concatenate([first.counts, second.counts]),
        np.concatenate([first.starts, second.starts[1:] + first.starts[-1]]),
    )
