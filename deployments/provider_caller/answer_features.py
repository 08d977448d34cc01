"""What speaks for a sentence, and what speaks for the question being answered at all. Each a number around 0 to 1."""

from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from deployments.provider_caller.answer_type import answer_type, holds
from deployments.provider_caller.evidence import Evidence, Sentence
from kit.words import stem, words

Features = NDArray[np.float32]

SENTENCE_FEATURES = (
    "max_similarity",
    "cosine",
    "coverage",
    "near_coverage",
    "passage_score",
    "first_passage",
    "second_passage",
    "answer_type",
    "no_answer_type",
    "length",
    "first_sentence",
    "asks",
    "name_match",
    "phrase_match",
)
"""Columns of `sentence_features`."""

ANSWER_FEATURES = (
    "max_similarity",
    "weakest_word",
    "passage_cosine",
    "coverage",
    "sentence_coverage",
    "absent_names",
    "best_sentence",
)
"""Columns of `answer_features`."""


def sentence_features(evidence: Evidence) -> Features:
    """float32 [sentences, SENTENCE_FEATURES]."""
    rows = np.zeros((len(evidence.sentences), len(SENTENCE_FEATURES)), dtype=np.float32)
    weights = term_weights(evidence)
    total = sum(weights.values()) or 1.0
    covered = [sum(weights[term] for term in weights if term in s.terms) / total for s in evidence.sentences]
    kind = answer_type(evidence.question)
    names = question_names(evidence.question)
    pairs = _pairs(evidence.question_terms)
    best_score = max(float(evidence.passage_scores.max()), 1e-6)
    for row, (sentence, coverage) in enumerate(zip(evidence.sentences, covered, strict=True)):
        held = names & sentence.terms
        rows[row] = (
            max_similarity(evidence, sentence),
            cosine(evidence, sentence),
            coverage,
            _near(evidence, row, covered),
            float(evidence.passage_scores[sentence.passage]) / best_score,
            sentence.passage == 0,
            sentence.passage == 1,
            kind is not None and holds(kind, sentence.text, evidence.question),
            kind is None,
            np.log1p(len(sentence.terms)) / 4,
            sentence.ordinal == 0,
            sentence.text.endswith("?"),
            len(held) / len(names) if names else 0,
            sum(first in sentence.terms and second in sentence.terms for first, second in pairs) / max(len(pairs), 1),
        )
    return rows


def answer_features(evidence: Evidence, scores: NDArray[np.float32]) -> NDArray[np.float32]:
    """float32 [ANSWER_FEATURES]. scores: float32 [sentences], of `sentence_features`."""
    weights = term_weights(evidence)
    total = sum(weights.values()) or 1.0
    everything = frozenset[str]().union(*(sentence.terms for sentence in evidence.sentences))
    names = question_names(evidence.question)
    best = evidence.sentences[int(np.argmax(scores))]
    similarities = word_similarities(evidence)
    return np.array(
        [
            similarities.mean() if similarities.size else 0,
            similarities.min() if similarities.size else 0,
            float((evidence.passage_vectors @ evidence.question_vector).max()),
            sum(weights[term] for term in weights if term in everything) / total,
            sum(weights[term] for term in weights if term in best.terms) / total,
            len(names - everything),
            scores.max(),
        ],
        dtype=np.float32,
    )


def term_weights(evidence: Evidence) -> dict[str, float]:
    """Inverse sentence frequency of the question's words among the sentences at hand: the rarer, the more telling."""
    count = len(evidence.sentences)
    frequency = {t: sum(t in sentence.terms for sentence in evidence.sentences) for t in evidence.question_terms}
    return {t: float(np.log(1 + (count - n + 0.5) / (n + 0.5))) for t, n in frequency.items()}


def max_similarity(evidence: Evidence, sentence: Sentence) -> float:
    """Mean over the question's content tokens of the best cosine among the sentence's tokens."""
    if not len(sentence.tokens) or not len(evidence.question_tokens):
        return 0.0
    return float((evidence.question_tokens @ sentence.tokens.T).max(axis=1).mean())


def word_similarities(evidence: Evidence) -> NDArray[np.float32]:
    """Best cosine of each content token of the question anywhere in the passages: float32 [t]."""
    tokens = [sentence.tokens for sentence in evidence.sentences if len(sentence.tokens)]
    if not tokens or not len(evidence.question_tokens):
        return np.zeros(0, dtype=np.float32)
    best: NDArray[np.float32] = (evidence.question_tokens @ np.concatenate(tokens).T).max(axis=1)
    return best


def cosine(evidence: Evidence, sentence: Sentence) -> float:
    """Cosine of the question's vector and the mean of the sentence's tokens."""
    if not len(sentence.tokens):
        return 0.0
    mean = sentence.tokens.mean(axis=0)
    return float(mean @ evidence.question_vector / (np.linalg.norm(mean) + 1e-9))


def question_names(question: str) -> frozenset[str]:
    """Stems of names and numbers in the question: capitalised words after the first, and words with a digit."""
    found = question.split()
    told = [word for place, word in enumerate(found) if (place and word[:1].isupper()) or any(map(str.isdigit, word))]
    return frozenset(stem(word) for item in told for word in words(item) if len(word) > 1)


def _near(evidence: Evidence, row: int, covered: list[float]) -> float:
    """The better coverage of the two neighbours in the same passage."""
    passage = evidence.sentences[row].passage
    neighbours = [n for n in (row - 1, row + 1) if 0 <= n < len(covered) and evidence.sentences[n].passage == passage]
    return max((covered[neighbour] for neighbour in neighbours), default=0.0)


def _pairs(terms: tuple[str, ...]) -> list[tuple[str, str]]:
    return list(pairwise(terms))
