import re

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from deployments.embedder.weights import weights_folder
from pipelines.ingestion.chunker import MAX_HEADING_PIECES, MAX_PIECES, chunk
from pipelines.ingestion.document import Document, ParseError
from pipelines.ingestion.parsers import markdown, plain_text
from pipelines.ingestion.word_pieces import tokenize_like

tokenize = tokenize_like(weights_folder() / "model.onnx")


def pieces(text: str) -> int:
    return len(tokenize(text).starts)


def visible(text: str) -> str:
    return "".join(text.split())


def parsed(text: str) -> Document:
    return markdown.parse(text.encode(), "lesson.md")


MARKUP = [
    "# Title",
    "## Section",
    "### Deep",
    "Setext",
    "===",
    "---",
    "```python",
    "```",
    "- item one. And more.",
    "  continued",
    "1. first",
    "| a | b |\n|---|---|\n| 1 | 2 |",
    "> quoted. Twice.",
    "[link]: http://example.org 'x'",
    "    indented code",
    "",
    "<div>",
    "\t- tab",
    "A sentence. Another one! Is it?",
    "word " * 300,
    "-" * 700,
    "漢字" * 200,
    "a1." * 150,
]
LINES = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=60) | st.sampled_from(
    MARKUP
)
TEXTS = st.lists(LINES, max_size=25).map(lambda lines: "\n".join(["Start.", *lines]))

HEADING_OR_RULE = re.compile(r"(?m)^ {0,3}(#{1,6}(\s|$)|=+\s*$|-+\s*$|([-*_][ \t]*){3,}$)")


@settings(max_examples=100, deadline=None)
@given(TEXTS)
def test_every_character_of_a_section_is_in_exactly_one_chunk_in_order(text: str) -> None:
    document = parsed(text)
    spans = [(section.blocks[0].start, section.blocks[-1].end) for section in document.sections]
    expected = "".join(document.text[start:end] for start, end in spans)
    assert visible("".join(part.text for part in chunk(document, tokenize))) == visible(expected)


@settings(max_examples=100, deadline=None)
@given(TEXTS)
def test_what_lies_between_blocks_is_headings_and_rules(text: str) -> None:
    document = parsed(text)
    at = 0
    for block in [block for section in document.sections for block in section.blocks]:
        assert block.start >= at
        between = document.text[at : block.start].strip("\n")
        assert not between.strip() or HEADING_OR_RULE.search(between), between
        at = block.end


@settings(max_examples=100, deadline=None)
@given(TEXTS)
def test_no_chunk_is_longer_than_the_limit_as_the_tokenizer_counts_it(text: str) -> None:
    for part in chunk(parsed(text), tokenize):
        assert part.pieces == pieces(part.text) <= MAX_PIECES
        assert pieces(part.heading) <= MAX_HEADING_PIECES


@settings(max_examples=100, deadline=None)
@given(st.text(max_size=2000), st.integers(1, 40))
def test_plain_text_keeps_every_character_at_any_limit(text: str, limit: int) -> None:
    try:
        document = plain_text.parse(text.encode("utf-8", "replace"), "notes.txt")
    except ParseError:
        assert "\0" in text
        return
    parts = list(chunk(document, tokenize, limit=limit))
    assert visible("".join(part.text for part in parts)) == visible(document.text)
    assert [part.ordinal for part in parts] == list(range(len(parts)))


def test_headings_make_the_path_and_sections_do_not_mix() -> None:
    parts = list(
        chunk(
            parsed("# Forces\nA push.\n## Gravity\nIt pulls.\n### On the Moon\nLess.\n## Friction\nIt rubs."), tokenize
        )
    )
    assert [(part.heading, part.text) for part in parts] == [
        ("Forces", "A push."),
        ("Forces > Gravity", "It pulls."),
        ("Forces > Gravity > On the Moon", "Less."),
        ("Forces > Friction", "It rubs."),
    ]


@pytest.mark.parametrize(
    "block",
    [
        "| force | unit |\n|---|---|\n" + "| weight | newton |\n" * 20,
        "```\nx = 1.\n\ny = 2.\n```",
        "\n".join(f"{number}. Take step number {number}. Then rest." for number in range(1, 12)),
    ],
)
def test_a_table_a_code_block_or_a_list_that_fits_is_not_cut(block: str) -> None:
    text = "An introduction that takes some room. " * 20 + "\n\n" + block + "\n\n" + "And what follows after. " * 30
    parts = list(chunk(parsed(text), tokenize))
    assert len(parts) > 1
    assert any(block.strip() in part.text for part in parts)


def test_prose_is_cut_between_sentences_into_chunks_of_about_one_size() -> None:
    sentence = "The river carries sand and gravel down to the sea every spring."
    parts = list(chunk(parsed(" ".join([sentence] * 20)), tokenize))
    assert all(part.text.startswith("The river") and part.text.endswith("spring.") for part in parts)
    assert max(part.pieces for part in parts) - min(part.pieces for part in parts) <= 2 * pieces(sentence)


def test_a_sentence_over_the_limit_is_cut_between_words() -> None:
    words = [f"word{number}" for number in range(300)]
    parts = list(chunk(parsed(" ".join(words)), tokenize))
    assert [word for part in parts for word in part.text.split()] == words


def test_a_long_heading_loses_its_middle_and_then_its_end() -> None:
    long = "# Title\n## " + "very " * 40 + "long\n### Leaf\nText."
    [part] = chunk(parsed(long), tokenize)
    assert part.heading == "Title > Leaf"
    [part] = chunk(parsed("# " + "endless " * 40 + "\nText."), tokenize)
    assert part.heading == " ".join(["endless"] * MAX_HEADING_PIECES)
