import codecs
from collections.abc import Callable
from typing import TypeVar

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipelines.ingestion.decoding import decode
from pipelines.ingestion.document import Document, ParseError
from pipelines.ingestion.front_matter import MAX_FRONT_MATTER, split_front_matter
from pipelines.ingestion.parsers.registry import parse, parser_for

T = TypeVar("T")


def attempt(call: Callable[[], T]) -> tuple[T | None, str]:
    """What `call` returns, or the reason why not."""
    try:
        return call(), ""
    except ParseError as error:
        return None, str(error)


def blocks(document: Document) -> list[tuple[str, str]]:
    return [
        (block.kind, document.text[block.start : block.end])
        for section in document.sections
        for block in section.blocks
    ]


@pytest.mark.parametrize(
    "data",
    [
        "Café\nau lait".encode(),
        codecs.BOM_UTF8 + "Café\r\nau lait".encode(),
        codecs.BOM_UTF16_LE + "Café\rau lait".encode("utf-16-le"),
        codecs.BOM_UTF16_BE + "Café\u2028au lait".encode("utf-16-be"),
    ],
)
def test_encodings_and_line_ends_make_one_text(data: bytes) -> None:
    assert decode(data) == "Café\nau lait"


def test_control_characters_become_spaces() -> None:
    assert decode(b"a\x0bb\x1cc\td") == "a b c\td"


@given(st.binary(max_size=200))
def test_any_bytes_are_text_or_a_reason(data: bytes) -> None:
    text, reason = attempt(lambda: decode(data))
    assert reason.endswith(".") if text is None else "\0" not in text


@given(st.text(max_size=200), st.sampled_from(["a.md", "a.txt"]))
def test_any_text_is_a_document_or_a_reason(text: str, name: str) -> None:
    document, reason = attempt(lambda: parse(text.encode("utf-8", "replace"), name))
    if document is None:
        assert reason.endswith(".")
    else:
        assert document.title
        assert all(part.strip() for _, part in blocks(document))


@pytest.mark.parametrize(
    ("text", "name", "title"),
    [
        ("---\ntitle: Given\n---\n# Heading\nText.", "file.md", "Given"),
        ("Text.\n\n## **First** `heading` of [a link](http://x)\nText.", "file.md", "First heading of a link"),
        ("Setext *heading*\n===\nText.", "file.md", "Setext heading"),
        ("Text.", "forces-and_motion.md", "forces and motion"),
        ("Text.", "my notes.txt", "my notes"),
    ],
)
def test_the_title_is_the_front_matters_then_the_first_heading_then_the_files_name(
    text: str, name: str, title: str
) -> None:
    assert parse(text.encode(), name).title == title


def test_kinds_of_blocks_are_told_apart() -> None:
    text = "Prose\non.\n\n- one\n- two\n\n| a |\n|---|\n| 1 |\n\n```\n# no heading\n```\n\n    indented\n\n> quoted"
    assert blocks(parse(text.encode(), "a.md")) == [
        ("prose", "Prose\non."),
        ("list", "- one\n- two"),
        ("table", "| a |\n|---|\n| 1 |"),
        ("code", "```\n# no heading\n```"),
        ("code", "    indented"),
        ("prose", "> quoted"),
    ]


def test_a_link_definition_stays_text() -> None:
    assert blocks(parse(b"See [it].\n\n[it]: http://example.org", "a.md"))[-1] == ("prose", "[it]: http://example.org")


def test_front_matter_values_are_text_numbers_and_lists_of_text() -> None:
    text = '---\nyear: 1965\nratio: 0.5\ndraft: true\nday: 2024-05-01\ntags: [a, 2]\nnone:\nodd: "a\\0b"\n---\nText.'
    attributes, body = split_front_matter(text)
    assert attributes == {
        "year": 1965,
        "ratio": 0.5,
        "draft": True,
        "day": "2024-05-01",
        "tags": ["a", "2"],
        "odd": "ab",
    }
    assert text[body:] == "Text."


@pytest.mark.parametrize(
    "text", ["Text.", "---\nJust prose.\n---\nText.", "---\nnever closed: 1\nText.", " ---\na: 1\n---\n"]
)
def test_what_only_looks_like_front_matter_is_text(text: str) -> None:
    assert split_front_matter(text) == ({}, 0)


@pytest.mark.parametrize(
    "matter",
    [
        "a: [",
        "a: .nan",
        "a: -.inf",
        "a: {b: c}",
        "a: [[1]]",
        "a: &x [*x]",
        "a: !!python/object:os.system x",
        "a: " + "x" * MAX_FRONT_MATTER,
    ],
)
def test_front_matter_that_is_broken_nested_or_endless_is_refused(matter: str) -> None:
    with pytest.raises(ParseError, match="front matter"):
        split_front_matter(f"---\n{matter}\n---\nText.")


def test_parsers_are_found_by_suffix_in_any_case() -> None:
    assert parser_for("A.MD") is parser_for("b.markdown") is not None
    assert parser_for("image.png") is None
    with pytest.raises(ParseError, match="no parser for files without a suffix"):
        parse(b"Text.", "README")
