"""What the local provider chooses from: a question and the sentences of the passages, as words."""

from collections.abc import Sequence
from dataclasses import dataclass

from deployments.protocols import Passage
from deployments.provider_caller.answer_type import answer_type
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

PREFIX = 5
"""Letters that two stems share when they are forms of one word (invas-ion, invad-e; chines-e, china do not)."""


@dataclass(frozen=True, slots=True)
class Question:
    """terms: stems of its content words, each once. names: those of them that are capitalised or hold a digit.
    kind: what is asked for (`answer_type`)."""

    text: str
    terms: tuple[str, ...]
    names: frozenset[str]
    kind: str | None

    @classmethod
    def parse(cls, text: str) -> "Question":
        """A question as it was asked."""
        # A question of function words alone (`Who are you?`) is asked with those.
        terms = dict.fromkeys(content_terms(text) or map(stem, words(text)))
        return cls(text, tuple(terms), frozenset(terms) & _names(text), answer_type(text))


@dataclass(frozen=True, slots=True)
class Sentence:
    """passage: position of its passage. follows: the sentence before it in the passage is the one before it here.
    terms: stems of its content words. prefixes: their first letters."""

    passage: int
    text: str
    follows: bool
    terms: frozenset[str]
    prefixes: frozenset[str]


def content_terms(text: str) -> list[str]:
    """Stems of the words that carry meaning, in order."""
    return [term for term in map(stem, words(text)) if term not in FUNCTION_WORDS]


def read(passages: Sequence[Passage]) -> tuple[Sentence, ...]:
    """The sentences of the passages in order. Headings and rules name a thing and say nothing about it: left out."""
    found: list[Sentence] = []
    for position, passage in enumerate(passages):
        follows = False
        for start, end in sentence_spans(passage.text):
            text = passage.text[start:end]
            if text.startswith("#") or not any(map(str.isalnum, text)):
                continue
            terms = frozenset(content_terms(text))
            prefixes = frozenset(term[:PREFIX] for term in terms)
            found.append(Sentence(position, text, follows, terms, prefixes))
            follows = True
    return tuple(found)


def _names(question: str) -> frozenset[str]:
    """Stems of capitalised words after the first, and of words with a digit."""
    told = [
        word
        for place, word in enumerate(question.split())
        if (place and word.lstrip("\"'“‘(")[:1].isupper()) or any(map(str.isdigit, word))
    ]
    return frozenset(stem(word) for item in told for word in words(item))
