"""Which parser reads which file."""

from collections.abc import Callable
from pathlib import PurePath

from pipelines.ingestion.document import Document, ParseError
from pipelines.ingestion.parsers import markdown, plain_text

Parser = Callable[[bytes, str], Document]

PARSERS: dict[str, Parser] = {suffix: module.parse for module in (markdown, plain_text) for suffix in module.SUFFIXES}
"""By the suffix of the file's name, lower case. A new format is one module with SUFFIXES and parse, named here."""


def parser_for(name: str) -> Parser | None:
    """The parser for a file of this name, or None."""
    return PARSERS.get(PurePath(name).suffix.lower())


def parse(data: bytes, name: str) -> Document:
    """The document in `data`. Raises ParseError with the reason when there is none."""
    parser = parser_for(name)
    if parser is None:
        raise ParseError(f"There is no parser for {PurePath(name).suffix or 'files without a suffix'}.")
    if not data.strip():
        raise ParseError("It is empty.")
    document = parser(data, name)
    if not any(section.blocks for section in document.sections):
        raise ParseError("It has no text under its headings." if document.text.strip() else "It is empty.")
    return document
