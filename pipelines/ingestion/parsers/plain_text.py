"""Plain text: paragraphs separated by blank lines, titled by the file's name."""

import re
from pathlib import PurePath

from pipelines.ingestion.decoding import decode
from pipelines.ingestion.document import Block, Document, Section

SUFFIXES = (".txt", ".text")


def parse(data: bytes, name: str) -> Document:
    """The document in `data`. Raises ParseError when it is not text."""
    text = decode(data)
    title = title_of(name)
    blocks = tuple(Block("prose", start, end) for start, end in _paragraphs(text))
    return Document(title, text, (Section((title,), blocks),))


def title_of(name: str) -> str:
    """A readable title from a file's name: `forces-and_motion.txt` is "forces and motion"."""
    stem = PurePath(name).stem
    return " ".join(re.sub(r"[-_]+", " ", stem).split()) or name


def _paragraphs(text: str) -> list[tuple[int, int]]:
    spans: list[tuple[int, int]] = []
    offset = start = end = 0
    for line in text.splitlines(keepends=True):
        if line.strip():
            start = offset if end == 0 else start
            end = offset + len(line.rstrip())
        elif end:
            spans.append((start, end))
            end = 0
        offset += len(line)
    return [*spans, (start, end)] if end else spans
