"""Markdown (CommonMark with tables): headings make sections; lists, tables and code blocks are kept together."""

import re
from collections.abc import Iterator
from itertools import accumulate

from markdown_it import MarkdownIt
from markdown_it.token import Token

from pipelines.ingestion.decoding import decode
from pipelines.ingestion.document import Block, BlockKind, Document, Section
from pipelines.ingestion.front_matter import split_front_matter
from pipelines.ingestion.parsers.plain_text import title_of

SUFFIXES = (".md", ".markdown")

_KINDS: dict[str, BlockKind] = {
    "bullet_list_open": "list",
    "ordered_list_open": "list",
    "table_open": "table",
    "fence": "code",
    "code_block": "code",
}
_MARKUP = re.compile(r"!?\[([^\]]*)\]\([^)]*\)|[*`]+|(?<!\w)_+|_+(?!\w)")


def _blocks_only() -> MarkdownIt:
    """A parser that finds blocks and leaves what is inside them alone; link definitions stay visible as prose."""
    return MarkdownIt("commonmark").enable("table").disable(["inline", "reference"])


def parse(data: bytes, name: str) -> Document:
    """The document in `data`, titled by its front matter, else its first heading, else the file's name.

    Raises ParseError when it is not text or its front matter is broken.
    """
    text = decode(data)
    attributes, body = split_front_matter(text)
    title = str(attributes.pop("title", ""))
    subject, class_level = attributes.pop("subject", None), attributes.pop("class_level", None)
    tokens = list(_with_headings(_blocks_only().parse(text[body:])))
    title = title or next((heading for _, heading in tokens if heading), "") or title_of(name)
    return Document(
        title=title,
        text=text,
        sections=tuple(_sections(text, body, tokens, title)),
        subject=None if subject is None else str(subject),
        class_level=None if class_level is None else str(class_level),
        attributes=attributes,
    )


def _with_headings(tokens: list[Token]) -> Iterator[tuple[Token, str]]:
    """The outermost blocks in order, each with its text if it is a heading, else with nothing."""
    for index, token in enumerate(tokens):
        if token.level == 0 and token.map is not None:
            is_heading = token.type == "heading_open"
            yield token, _plain(tokens[index + 1].content) if is_heading else ""


def _sections(text: str, body: int, tokens: list[tuple[Token, str]], title: str) -> Iterator[Section]:
    """Every line of the body that is no heading lies in one block, whatever the parser made of it. What consists of
    rules (`---`) alone is no section."""
    starts = [*accumulate((len(line) + 1 for line in text[body:].split("\n")), initial=body)]
    starts[-1] = len(text)
    headings: list[tuple[int, str]] = []
    blocks: list[Block] = []
    path: tuple[str, ...] = (title,)
    line = rules = 0

    def take(kind: BlockKind, first: int, last: int) -> None:
        block = text[starts[first] : starts[last]]
        if block.strip():
            start = starts[first] + len(block) - len(block.lstrip("\n"))
            blocks.append(Block(kind, start, starts[first] + len(block.rstrip())))

    for token, heading in tokens:
        first, last = token.map or (line, line)
        take("prose", line, first)
        line = last
        if token.type == "heading_open":
            if len(blocks) > rules:
                yield Section(path, tuple(blocks))
            blocks, rules = [], 0
            level = int(token.tag[1:])
            headings = [*((depth, name) for depth, name in headings if depth < level), (level, heading)]
            path = _path(title, headings)
        else:
            rules += token.type == "hr"
            take(_KINDS.get(token.type, "prose"), first, last)
    take("prose", line, len(starts) - 1)
    if len(blocks) > rules:
        yield Section(path, tuple(blocks))


def _path(title: str, headings: list[tuple[int, str]]) -> tuple[str, ...]:
    names = [name for _, name in headings if name]
    return (title, *names[1:]) if names[:1] == [title] else (title, *names)


def _plain(heading: str) -> str:
    """A heading without emphasis, code marks and link targets."""
    return " ".join(_MARKUP.sub(lambda match: match.group(1) or "", heading).split())
