"""The pages of the documentation and what is in them."""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
PAGES = tuple(
    path.relative_to(ROOT) for path in (ROOT / "README.md", ROOT / "samples/README.md", ROOT / "requirements/README.md")
) + tuple(sorted(path.relative_to(ROOT) for path in (ROOT / "docs").rglob("*.md")))

_FENCE = re.compile(r"^(?:<!-- (?P<marks>[a-z ]+) -->\n)?```(?P<language>\w*)\n(?P<text>.*?)^```$", re.M | re.S)


@dataclass(frozen=True)
class Block:
    """A fenced block. `line`: of its first line of text, from 1. `marks`: words of the comment right above it."""

    page: Path
    line: int
    language: str
    text: str
    marks: tuple[str, ...]

    def __str__(self) -> str:
        return f"{self.page}:{self.line}"


def text_of(page: Path) -> str:
    return (ROOT / page).read_text("utf-8")


def blocks_of(page: Path) -> Iterator[Block]:
    text = text_of(page)
    for match in _FENCE.finditer(text):
        line = text.count("\n", 0, match.start("text")) + 1
        yield Block(page, line, match["language"], match["text"], tuple((match["marks"] or "").split()))


def blocks(*languages: str, mark: str | None = None) -> list[Block]:
    """All blocks of these languages, of all pages; with a mark: those that carry it."""
    found = [block for page in PAGES for block in blocks_of(page) if block.language in languages]
    return [block for block in found if mark is None or mark in block.marks]


def prose_of(page: Path) -> str:
    """The page without its fenced blocks."""
    return _FENCE.sub("", text_of(page))


def inline_code_of(page: Path) -> list[str]:
    """Every `code` span, on one line each."""
    return [" ".join(span.split()) for span in re.findall(r"`([^`]+)`", prose_of(page))]
