"""What a parser makes of a file: its text, where the parts of it lie, and what is known about it."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

AttributeValue = str | int | float | bool | list[str]
BlockKind = Literal["prose", "list", "table", "code"]


class ParseError(Exception):
    """A file that cannot be read as a document; the message is the reason, for people."""


@dataclass(frozen=True, slots=True)
class Block:
    """A run of text that belongs together, at `text[start:end]` of its document. Prose may be cut between sentences;
    the other kinds are kept whole where they fit."""

    kind: BlockKind
    start: int
    end: int


@dataclass(frozen=True, slots=True)
class Section:
    """What stands under one heading. `path`: the headings above it, outermost first, its own last."""

    path: tuple[str, ...]
    blocks: tuple[Block, ...]


@dataclass(frozen=True, slots=True)
class Document:
    """A parsed file. `attributes` holds what its front matter says beyond the named fields."""

    title: str
    text: str
    sections: tuple[Section, ...]
    subject: str | None = None
    class_level: str | None = None
    attributes: Mapping[str, AttributeValue] = field(default_factory=dict)
