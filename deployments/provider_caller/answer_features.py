"""What speaks for a sentence, and what speaks for the question being answered at all. Each a number around 0 to 1."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from deployments.protocols import Embeddings, Vectors
from deployments.provider_caller.answer_type import holds
from deployments.provider_caller.evidence import FUNCTION_WORDS, PREFIX, Question, Sentence
from kit.words import stem

Features = NDArray[np.float32]

LEXICAL_FEATURES = (
    "coverage",
    "loose_coverage",
    "loose_coverage_with_previous",
    "passage_score",
    "reciprocal_rank",
    "answer_type",
    "date",
)
"""Columns of `lexical_features`: the share of the question's words that the sentence holds (weighted by rarity, the
second also in other forms, the third with the sentence before it), its passage's score against the best and place, and
whether it holds what is asked for, a date being the surest to tell."""

SEMANTIC_FEATURES = ("max_similarity", "cosine")
"""Columns of `semantic_features`."""

ANSWER_FEATURES = ("cosine", "max_similarity", "absent_names")
"""Columns of `answer_features`: the best of the sentences that were looked at closely, and how many names and numbers
of the question stand in no sentence at all."""

LOOSE = 0.7
"""What another form of a word counts."""


def term_weights(question: Question, sentences: Sequence[Sentence]) -> dict[str, float]:
    """Inverse sentence frequency of the question's words among the sentences at hand: the rarer, the more telling."""
    count = len(sentences)
    found = {term: sum(term in sentence.terms for sentence in sentences) for term in question.terms}
    return {term: float(np.log(1 + (count - n + 0.5) / (n + 0.5))) for term, n in found.items()}


def lexical_features(
    question: Question, sentences: Sequence[Sentence], passage_scores: NDArray[np.float32]
) -> Features:
    """float32 [sentences, LEXICAL_FEATURES]. passage_scores: float32 [passages], best first."""
    rows = np.zeros((len(sentences), len(LEXICAL_FEATURES)), dtype=np.float32)
    weights = term_weights(question, sentences)
    total = sum(weights.values()) or 1.0
    best = max(float(passage_scores.max(initial=0)), 1e-6)
    previous: dict[str, float] = {}
    for row, sentence in enumerate(sentences):
        matched = {term: match(term, sentence) for term in weights}
        both = {term: max(matched[term], previous[term] if sentence.follows else 0) for term in weights}
        answers = question.kind is not None and holds(question.kind, sentence.text, question.text)
        rows[row] = (
            sum(weights[term] for term in weights if matched[term] == 1) / total,
            sum(weights[term] * matched[term] for term in weights) / total,
            sum(weights[term] * both[term] for term in weights) / total,
            float(passage_scores[sentence.passage]) / best,
            1 / (1 + sentence.passage),
            answers,
            answers and question.kind == "date",
        )
        previous = matched
    return rows


def match(term: str, sentence: Sentence) -> float:
    """1 where the sentence holds the word, LOOSE where it holds what looks like another form of it, else 0."""
    if term in sentence.terms:
        return 1.0
    return LOOSE if len(term) >= PREFIX and term[:PREFIX] in sentence.prefixes else 0.0


def semantic_features(question: Question, embeddings: Embeddings) -> Features:
    """float32 [sentences, SEMANTIC_FEATURES]. embeddings: of the question, then of each sentence, with tokens.

    max_similarity: the mean over the question's content tokens of the best cosine in the sentence.
    """
    cosines = embeddings.sentences[1:] @ embeddings.sentences[0]
    if embeddings.tokens and all(len(tokens.vectors) for tokens in embeddings.tokens):
        asked = _content_tokens(question, embeddings)
        late = [float((asked @ tokens.vectors.T).max(axis=1).mean()) for tokens in embeddings.tokens[1:]]
    else:
        late = cosines.tolist()  # A provider's embeddings come without token vectors.
    return np.stack([late, cosines], axis=1).astype(np.float32)


def answer_features(question: Question, sentences: Sequence[Sentence], semantic: Features) -> NDArray[np.float32]:
    """float32 [ANSWER_FEATURES]. sentences: all that were read. semantic: `semantic_features` of the shortlist."""
    late, cosine = semantic.max(axis=0)
    absent = sum(all(match(name, sentence) == 0 for sentence in sentences) for name in question.names)
    return np.array([cosine, late, absent], dtype=np.float32)


def _content_tokens(question: Question, embeddings: Embeddings) -> Vectors:
    """float32 [t, d]: the question's token vectors, those of content words where it has any."""
    tokens = embeddings.tokens[0]
    kept = [
        position
        for position, (start, end) in enumerate(tokens.offsets.tolist())
        if question.text[start:end].isalnum() and stem(question.text[start:end].lower()) not in FUNCTION_WORDS
    ]
    return tokens.vectors[kept] if kept else tokens.vectors
