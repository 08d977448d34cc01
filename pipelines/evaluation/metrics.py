"""How good an order of documents is, as trec_eval measures it; and whether a text holds an answer."""

import math
from collections.abc import Iterable, Mapping, Sequence

from kit.words import words


def ndcg(order: Sequence[str], relevant: Mapping[str, int], k: int = 10) -> float:
    """Normalised discounted cumulative gain of the first k, gains linear in the grade."""
    gain = sum(relevant.get(document, 0) / math.log2(rank + 2) for rank, document in enumerate(order[:k]))
    ideal = sum(g / math.log2(rank + 2) for rank, g in enumerate(sorted(relevant.values(), reverse=True)[:k]))
    return gain / ideal if ideal else 0.0


def recall(order: Sequence[str], relevant: Mapping[str, int], k: int = 100) -> float:
    """Share of the relevant documents that are among the first k."""
    return len(set(order[:k]) & set(relevant)) / len(relevant) if relevant else 0.0


def reciprocal_rank(order: Sequence[str], relevant: Mapping[str, int], k: int = 10) -> float:
    """1 / rank of the first relevant document, 0 where none is among the first k."""
    return next((1 / rank for rank, document in enumerate(order[:k], start=1) if document in relevant), 0.0)


def hit(order: Sequence[str], relevant: Mapping[str, int], k: int = 5) -> float:
    """1 where a relevant document is among the first k, else 0."""
    return float(any(document in relevant for document in order[:k]))


def mean(values: Iterable[float]) -> float:
    """The mean; 0 of nothing."""
    known = list(values)
    return sum(known) / len(known) if known else 0.0


def quantile(values: Iterable[float], q: float) -> float:
    """The smallest value that at least q of the values do not exceed; 0 of nothing."""
    ordered = sorted(values)
    return ordered[max(math.ceil(q * len(ordered)) - 1, 0)] if ordered else 0.0


def holds_answer(text: str, answers: Sequence[str]) -> bool:
    """Whether any answer stands in the text as whole words; case, accents and punctuation do not matter."""
    padded = f" {' '.join(words(text))} "
    return any(f" {' '.join(wanted)} " in padded for answer in answers if (wanted := words(answer)))
