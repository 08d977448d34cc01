"""What the local provider chooses from: the question and the sentences of the passages, as words and as vectors."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from deployments.protocols import Embeddings, Passage, TokenVectors, Vectors
from kit.sentences import sentence_spans
from kit.words import stem, words

_FUNCTION_WORDS = (
    "what which who whom whose when where why how do does did done is are was were be been being am has have had "
    "having can could will would shall should may might must a an the this that these those there here it its he "
    "him his she her they them their we us our you your i me my mine of in on at by for from to with about into "
    "as and or but if than then so such not no nor also very s t d ll re ve name give tell describe explain list "
    "many much some any all each other another one call mean kind type"
)
FUNCTION_WORDS = frozenset(map(stem, _FUNCTION_WORDS.split()))
"""Stems that say how something is asked, not what about."""


@dataclass(frozen=True, slots=True)
class Sentence:
    """passage: position of its passage. ordinal: its place there. tokens: float32 [t, d], in the passage's context."""

    passage: int
    ordinal: int
    text: str
    terms: frozenset[str]
    tokens: Vectors


@dataclass(frozen=True, slots=True)
class Evidence:
    """question_tokens: float32 [t, d], those of content words only. question_vector: float32 [d].
    passage_vectors: float32 [p, d]. passage_scores: float32 [p], as retrieved."""

    question: str
    question_terms: tuple[str, ...]
    question_tokens: Vectors
    question_vector: Vectors
    sentences: tuple[Sentence, ...]
    passage_vectors: Vectors
    passage_scores: NDArray[np.float32]


def content_terms(text: str) -> list[str]:
    """Stems of the words that carry meaning, in order."""
    return [term for term in map(stem, words(text)) if term not in FUNCTION_WORDS]


def gather(question: str, passages: Sequence[Passage], embeddings: Embeddings) -> Evidence:
    """embeddings: of the question, then of each passage's text, with tokens (without: words alone decide)."""
    tokens = embeddings.tokens
    sentences = [
        sentence
        for position, passage in enumerate(passages)
        for sentence in _sentences(position, passage.text, tokens[position + 1] if tokens else None)
    ]
    terms = tuple(dict.fromkeys(content_terms(question))) or tuple(dict.fromkeys(map(stem, words(question))))
    return Evidence(
        question=question,
        question_terms=terms,
        question_tokens=_content_tokens(question, tokens[0]) if tokens else _no_vectors(embeddings),
        question_vector=embeddings.sentences[0],
        sentences=tuple(sentences),
        passage_vectors=embeddings.sentences[1:],
        passage_scores=np.array([passage.score for passage in passages], dtype=np.float32),
    )


def _sentences(position: int, text: str, tokens: TokenVectors | None) -> list[Sentence]:
    found = []
    for ordinal, (start, end) in enumerate(sentence_spans(text)):
        sentence = text[start:end]
        if sentence.startswith("#") or not any(map(str.isalnum, sentence)):
            continue  # Headings and rules name a thing and say nothing about it.
        if tokens is None:
            vectors = np.empty((0, 0), dtype=np.float32)
        else:
            # Tokens are in order, so a sentence's are a contiguous run.
            first, last = np.searchsorted(tokens.offsets[:, 0], (start, end))
            vectors = tokens.vectors[first:last]
        found.append(Sentence(position, ordinal, sentence, frozenset(content_terms(sentence)), vectors))
    return found


def _content_tokens(question: str, tokens: TokenVectors) -> Vectors:
    """Vectors of the tokens of content words; of all where there is none."""
    kept = [
        position
        for position, (start, end) in enumerate(tokens.offsets.tolist())
        if any(map(str.isalnum, question[start:end])) and stem(question[start:end].lower()) not in FUNCTION_WORDS
    ]
    return tokens.vectors[kept] if kept else tokens.vectors


def _no_vectors(embeddings: Embeddings) -> Vectors:
    return np.empty((0, embeddings.sentences.shape[1]), dtype=np.float32)
