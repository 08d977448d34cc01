"""Cuts a document into chunks that an embedding model sees whole.

1. A section is never mixed with the next one: its headings are the chunk's `heading` and are embedded with it.
2. Its blocks become units: a list, a table or a code block that fits is one; prose becomes its sentences. What is
   longer than the limit is cut at lines (tables, code), then sentences, then words.
3. Units are packed in order. A section that needs n chunks gets n of about the same size, so that none is a scrap.

Lengths are word pieces of the embedder's tokenizer, special tokens not counted.
"""

import re
from bisect import bisect_left
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

from kit.sentences import sentence_spans
from pipelines.ingestion.document import Block, Document

MAX_PIECES = 220
MAX_HEADING_PIECES = 32
"""With both and the two special tokens a chunk stays under the 256 word pieces that the model sees."""

SEPARATOR = " > "

_RUN = re.compile(r"\S+")
_LINE = re.compile(r"[^\n]*\S[^\n]*")

Span = tuple[int, int]


@dataclass(frozen=True, slots=True)
class Pieces:
    """Word pieces of a text: where each starts (ascending) and which word it belongs to (WordPiece never looks
    across words, so a text cut between two words has the same pieces as before)."""

    starts: Sequence[int]
    words: Sequence[int]


Tokenize = Callable[[str], Pieces]


@dataclass(frozen=True, slots=True)
class Chunk:
    """text: exactly as it stands in the document. heading: "Title > Section". pieces: word pieces of the text."""

    ordinal: int
    heading: str
    text: str
    pieces: int


@dataclass(frozen=True, slots=True)
class _Unit:
    start: int
    end: int
    pieces: int


def chunk(document: Document, tokenize: Tokenize, *, limit: int = MAX_PIECES) -> Iterator[Chunk]:
    """The chunks in order, none longer than `limit`. Every character of every block that is not white space is in
    exactly one of them."""
    ordinal = 0
    for section in document.sections:
        heading = _heading(section.path, tokenize)
        units = [unit for block in section.blocks for unit in _units(document.text, block, tokenize, limit)]
        for packed in _pack(units, limit):
            text = document.text[packed.start : packed.end]
            yield Chunk(ordinal, heading, text, packed.pieces)
            ordinal += 1


def _pack(units: Sequence[_Unit], limit: int) -> Iterator[_Unit]:
    total = sum(unit.pieces for unit in units)
    target = -(-total // max(1, -(-total // limit)))
    first: _Unit | None = None
    end = pieces = 0
    for unit in units:
        if first is not None and (pieces >= target > 0 or pieces + unit.pieces > limit):
            yield _Unit(first.start, end, pieces)
            first, pieces = None, 0
        first = first or unit
        end, pieces = unit.end, pieces + unit.pieces
    if first is not None:
        yield _Unit(first.start, end, pieces)


def _units(text: str, block: Block, tokenize: Tokenize, limit: int) -> Iterator[_Unit]:
    pieces = tokenize(text[block.start : block.end])
    starts = [block.start + start for start in pieces.starts]

    def measured(span: Span) -> _Unit:
        return _Unit(*span, bisect_left(starts, span[1]) - bisect_left(starts, span[0]))

    def cut(span: Span, ways: Sequence[Callable[[Span], list[Span]]]) -> Iterator[_Unit]:
        unit = measured(span)
        if unit.pieces <= limit or not ways:
            yield unit
            return
        for part in ways[0](span):
            yield from cut(part, ways[1:])

    def lines(span: Span) -> list[Span]:
        return [match.span() for match in _LINE.finditer(text, *span)]

    def sentences(span: Span) -> list[Span]:
        return [(span[0] + start, span[0] + end) for start, end in sentence_spans(text[slice(*span)])]

    def runs(span: Span) -> list[Span]:
        return [match.span() for match in _RUN.finditer(text, *span)]

    def words(span: Span) -> list[Span]:
        """Pieces of something without white space, cut where the tokenizer sees a new word."""
        low, high = bisect_left(starts, span[0]), bisect_left(starts, span[1])
        cuts = [starts[at] for at in range(low + 1, high) if pieces.words[at] != pieces.words[at - 1]]
        return list(zip([span[0], *cuts], [*cuts, span[1]], strict=True))

    whole = (block.start, block.end)
    if block.kind == "prose":
        for sentence in sentences(whole):
            yield from cut(sentence, (runs, words))
    else:
        first = lines if block.kind in ("table", "code") else sentences
        yield from cut(whole, (first, sentences, runs, words))


def _heading(path: Sequence[str], tokenize: Tokenize) -> str:
    """The path as one line. Too long a one loses its middle first, then the end of what is left."""
    names = list(path)
    while len(names) > 2 and len(tokenize(SEPARATOR.join(names)).starts) > MAX_HEADING_PIECES:
        del names[1]
    heading = SEPARATOR.join(names)
    pieces = tokenize(heading)
    if len(pieces.starts) <= MAX_HEADING_PIECES:
        return heading
    # Between words, so that what is kept has no more pieces than it had.
    cut = max((at for at in range(1, MAX_HEADING_PIECES + 1) if pieces.words[at] != pieces.words[at - 1]), default=0)
    return heading[: pieces.starts[cut]].rstrip()
