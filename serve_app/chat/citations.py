"""Which passages an answer rests on."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from deployments.protocols import Passage

_MARKER = re.compile(r"\[(\d{1,2})\]")
_SENTENCE_END = re.compile(r"(?<=[.!?])\s+|\n+")


@dataclass(frozen=True, slots=True)
class Citation:
    """number: the passage's number in the prompt, from 1. quote: text that stands in the passage word for word."""

    number: int
    passage: Passage
    quote: str


def citations_of(answer: str, passages: Sequence[Passage], stated: dict[str, Any] | None) -> list[Citation]:
    """The citations in the order of their first use.

    stated: what the `local` provider says of its own answer. Without it the markers `[n]` of the text count; markers
    of passages that were not given are not citations.
    """
    if stated is not None:
        return [
            Citation(item["passage"], passages[item["passage"] - 1], item["text"])
            for item in stated.get("citations") or ()
            if 1 <= item["passage"] <= len(passages)
        ]
    numbers = dict.fromkeys(int(marker) for marker in _MARKER.findall(answer))
    return [
        Citation(number, passages[number - 1], quote_for(answer, number, passages[number - 1]))
        for number in numbers
        if 1 <= number <= len(passages)
    ]


def quote_for(answer: str, number: int, passage: Passage) -> str:
    """The passage's sentence that shares most words with what the answer says where it cites the passage."""
    claims = " ".join(s for s in _SENTENCE_END.split(answer) if f"[{number}]" in s)
    wanted = set(re.findall(r"\w+", claims.lower()))
    sentences = [sentence for sentence in _SENTENCE_END.split(passage.text) if sentence.strip()]
    return max(
        sentences, key=lambda sentence: len(wanted & set(re.findall(r"\w+", sentence.lower()))), default=passage.text
    )
