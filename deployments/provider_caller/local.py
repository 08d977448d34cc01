"""The `local` provider: answers by quoting the sentences that answer best. No language model, no key, no network.

1. The question and the best passages go through the embedder once; a sentence's vectors are its tokens' vectors, taken
   in the context of the whole passage (`It` knows what it stands for).
2. Every sentence gets features (`answer_features.py`) and a score, their weighted sum.
3. From the best sentence and the passages, a probability that the question is answered at all.
4. At most three sentences are quoted, exactly as they stand.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from deployments.protocols import Embedder, Passage
from deployments.provider_caller.answer_features import answer_features, sentence_features
from deployments.provider_caller.answer_weights import ANSWERED, SENTENCE
from deployments.provider_caller.evidence import Evidence, gather
from deployments.retriever.fusion import top_k

PASSAGES = 3
"""Passages that are read: more cost time and hold the answer seldom."""
QUOTES = 3
NO_ANSWER = "No passage answers this."


@dataclass(frozen=True, slots=True)
class Quote:
    """passage: its number, from 1, in the order given. text: exactly as it stands there. score: larger is better."""

    passage: int
    text: str
    score: float


@dataclass(frozen=True, slots=True)
class ExtractiveAnswer:
    """quotes: best first, at most three, none when not answered. text: for people, each quote with its source."""

    answered: bool
    quotes: tuple[Quote, ...]
    text: str


class LocalProvider:
    """Chooses sentences. Holds nothing between questions."""

    def __init__(self, embedder: Embedder) -> None:
        self._embedder = embedder

    async def answer(self, question: str, passages: Sequence[Passage]) -> ExtractiveAnswer:
        """The sentences of the passages (best first) that answer best, or the statement that none does."""
        read = passages[:PASSAGES]
        if not question.strip() or not read:
            return ExtractiveAnswer(False, (), NO_ANSWER)
        embeddings = await self._embedder.embed([question, *(passage.text for passage in read)], tokens=True)
        return choose(gather(question, read, embeddings))


def choose(evidence: Evidence) -> ExtractiveAnswer:
    """Score the sentences, decide whether they answer, quote the best."""
    if not evidence.sentences:
        return ExtractiveAnswer(False, (), NO_ANSWER)
    scores = (sentence_features(evidence) @ SENTENCE).astype(np.float32)
    if float(answer_features(evidence, scores) @ ANSWERED[:-1]) + ANSWERED[-1] < 0:
        return ExtractiveAnswer(False, (), NO_ANSWER)
    quotes = tuple(
        Quote(evidence.sentences[best].passage + 1, evidence.sentences[best].text, float(scores[best]))
        for best in top_k(scores, QUOTES).tolist()
    )
    return ExtractiveAnswer(True, quotes, "\n\n".join(f"“{quote.text}” [{quote.passage}]" for quote in quotes))
