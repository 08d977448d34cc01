"""The `local` provider: answers by quoting the sentences that answer best. No language model, no key, no network.

1. The sentences of the best passages are scored by their words (`lexical_features`): 1 ms.
2. The few best of them go through the embedder together with the question (`semantic_features`): this is where the
   time goes, so it is a few sentences and not whole passages.
3. From both, and from what of the question is nowhere to be found, the odds that the question is answered at all.
4. At most three sentences are quoted, exactly as they stand.

How the weights were found and what they achieve: docs/performance/quality.md.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from deployments.protocols import Embedder, Passage
from deployments.provider_caller.answer_features import answer_features, lexical_features, semantic_features
from deployments.provider_caller.answer_weights import ANSWERED, ANSWERED_BIAS, LEXICAL, SENTENCE
from deployments.provider_caller.evidence import Question, read
from deployments.retriever.fusion import top_k

PASSAGES = 5
"""Passages that are read."""
SHORTLIST = 4
"""Sentences that are embedded."""
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


UNANSWERED = ExtractiveAnswer(False, (), NO_ANSWER)


class LocalProvider:
    """Chooses sentences. Holds nothing between questions."""

    def __init__(self, embedder: Embedder) -> None:
        self._embedder = embedder

    async def answer(self, question: str, passages: Sequence[Passage]) -> ExtractiveAnswer:
        """The sentences of the passages (best first) that answer best, or the statement that none does."""
        asked = Question.parse(question)
        sentences = read(passages[:PASSAGES])
        if not asked.terms or not sentences:
            return UNANSWERED
        passage_scores = np.array([passage.score for passage in passages[:PASSAGES]], dtype=np.float32)
        lexical = lexical_features(asked, sentences, passage_scores)
        shortlist = top_k(lexical @ LEXICAL, SHORTLIST)
        texts = [question, *(sentences[position].text for position in shortlist)]
        embeddings = await self._embedder.embed(texts, tokens=True)
        semantic = semantic_features(asked, embeddings)
        if answer_features(asked, sentences, semantic) @ ANSWERED + ANSWERED_BIAS < 0:
            return UNANSWERED
        scores = np.concatenate([lexical[shortlist], semantic], axis=1) @ SENTENCE
        best = [(sentences[shortlist[place]], float(scores[place])) for place in top_k(scores, QUOTES)]
        quotes = tuple(Quote(sentence.passage + 1, sentence.text, score) for sentence, score in best)
        return ExtractiveAnswer(True, quotes, "\n\n".join(f"“{quote.text}” [{quote.passage}]" for quote in quotes))
