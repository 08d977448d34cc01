from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kit.sentences import sentence_spans


def split_sentences(text: str) -> list[str]:
    return [text[start:end] for start, end in sentence_spans(text)]


@pytest.mark.parametrize(
    ("text", "sentences"),
    [
        ("Water boils. Ice melts.", ["Water boils.", "Ice melts."]),
        ("Dr. Smith met Prof. Jones. They talked.", ["Dr. Smith met Prof. Jones.", "They talked."]),
        ("It costs $3.50 today. Pi is 3.14159.", ["It costs $3.50 today.", "Pi is 3.14159."]),
        ("J. R. R. Tolkien wrote it. He taught.", ["J. R. R. Tolkien wrote it.", "He taught."]),
        ("It was measured by A. A. Michelson. He won.", ["It was measured by A. A. Michelson.", "He won."]),
        ("She lived in the U.S. in 1937. He did not.", ["She lived in the U.S. in 1937.", "He did not."]),
        ("She lived in the U.S. The house is gone.", ["She lived in the U.S.", "The house is gone."]),
        ("Bring pens, paper, etc. The test is long.", ["Bring pens, paper, etc.", "The test is long."]),
        ("See Fig. 3 and No. 5. Then go on.", ["See Fig. 3 and No. 5.", "Then go on."]),
        ("The case was Sweden v. Russia. It ended.", ["The case was Sweden v. Russia.", "It ended."]),
        ('"Why?" she asked. He left.', ['"Why?" she asked.', "He left."]),
        ('He said "I am done." The crowd left.', ['He said "I am done."', "The crowd left."]),
        ("What is it?! No idea.", ["What is it?!", "No idea."]),
        ("Wait... what? Nothing.", ["Wait... what?", "Nothing."]),
        ("(It may rain.) Take a coat.", ["(It may rain.)", "Take a coat."]),
        ("中文。句子！", ["中文。", "句子！"]),
        ("no full stop at all", ["no full stop at all"]),
    ],
)
def test_prose_is_split_where_a_reader_would(text: str, sentences: list[str]) -> None:
    assert split_sentences(text) == sentences


def test_lines_that_run_on_are_one_sentence() -> None:
    assert split_sentences("A long line\nruns on. Next.") == ["A long line\nruns on.", "Next."]


def test_paragraphs_headings_and_list_items_end_sentences_without_a_full_stop() -> None:
    text = "# Water\nIt is wet\n\nA new paragraph\n- first\n- second. More\n"
    text += "1. Boil it.\n2. Drink it\n| a | b |\n| c | d |\nEnd"
    assert split_sentences(text) == [
        *("# Water", "It is wet", "A new paragraph", "- first", "- second.", "More"),
        *("1. Boil it.", "2. Drink it", "| a | b |", "| c | d |", "End"),
    ]


def test_a_number_that_closes_a_bracket_is_no_list_item() -> None:
    assert split_sentences("Oxygen (O\n2) is a gas. It burns.") == ["Oxygen (O\n2) is a gas.", "It burns."]


@pytest.mark.parametrize("text", ["", "   ", "\n\n"])
def test_white_space_has_no_sentences(text: str) -> None:
    assert sentence_spans(text) == []


@given(st.text(alphabet=st.sampled_from("aB .!?\n\"')(1-#|。")) | st.text())
def test_every_visible_character_lies_in_exactly_one_sentence(text: str) -> None:
    spans = sentence_spans(text)
    assert all(start < end for start, end in spans)
    assert all(first[1] <= second[0] for first, second in pairwise(spans))
    covered = {position for start, end in spans for position in range(start, end)}
    assert {position for position, character in enumerate(text) if not character.isspace()} <= covered
    assert all(sentence == sentence.strip() for sentence in split_sentences(text))
