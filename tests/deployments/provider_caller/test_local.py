import hashlib
from collections.abc import Sequence
from uuid import UUID

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from deployments.protocols import Embeddings, Passage, TokenVectors
from deployments.provider_caller.answer_features import match
from deployments.provider_caller.answer_type import answer_type, holds
from deployments.provider_caller.evidence import Question, read
from deployments.provider_caller.local import NO_ANSWER, SHORTLIST, LocalProvider
from kit.words import stem, words

TIDES = "The Moon pulls the water of the oceans. Tides rise twice a day. A spring tide comes at full moon."
LEAF = "Leaves make sugar from light. Chlorophyll, the green pigment, catches the light. Jan Ingenhousz saw it in 1779."
RUST = "## Rust\n\nIron rusts in damp air. Steel rusts because it holds iron.\n\n- zinc protects it\n- paint too"


class WordEmbedder:
    """A stem is a fixed random direction, a text the mean of its words': alike where words are shared."""

    def __init__(self, *, tokens: bool = True) -> None:
        self.tokens = tokens
        self.calls: list[list[str]] = []

    async def embed(self, texts: Sequence[str], *, tokens: bool = False) -> Embeddings:
        self.calls.append(list(texts))
        found = [self._tokens(text) for text in texts]
        sentences = np.stack([token.vectors.mean(axis=0) for token in found])
        sentences /= np.linalg.norm(sentences, axis=1, keepdims=True)
        return Embeddings(sentences, (), tuple(found) if tokens and self.tokens else ())

    def _tokens(self, text: str) -> TokenVectors:
        spans, start = [], 0
        for part in text.split():
            start = text.index(part, start)
            spans.append((start, start + len(part)))
            start += len(part)
        vectors = [self._direction(stem((words(text[a:b]) or ["."])[0])) for a, b in spans]
        return TokenVectors(np.stack(vectors), np.array(spans, np.int32))

    @staticmethod
    def _direction(word: str) -> np.ndarray:
        seed = int.from_bytes(hashlib.sha256(word.encode()).digest()[:8])
        vector = np.random.default_rng(seed).standard_normal(64).astype(np.float32)
        return vector / np.linalg.norm(vector)


def passage(number: int, text: str, score: float) -> Passage:
    identity = UUID(int=number)
    return Passage(identity, identity, f"Lesson {number}", f"{number}.md", "", text, score)


PASSAGES = [passage(1, LEAF, 0.9), passage(2, TIDES, 0.8), passage(3, RUST, 0.1)]


async def test_the_sentence_that_answers_is_quoted_first_with_its_passage() -> None:
    answer = await LocalProvider(WordEmbedder()).answer("Which green pigment catches the light?", PASSAGES)
    assert answer.answered
    assert answer.quotes[0].text == "Chlorophyll, the green pigment, catches the light."
    assert answer.quotes[0].passage == 1
    assert answer.text.startswith("“Chlorophyll, the green pigment, catches the light.” [1]")


async def test_a_sentence_of_a_later_passage_can_win() -> None:
    answer = await LocalProvider(WordEmbedder()).answer("When does a spring tide come?", PASSAGES)
    assert (answer.quotes[0].passage, answer.quotes[0].text) == (2, "A spring tide comes at full moon.")


async def test_at_most_three_sentences_are_quoted_best_first_and_exactly() -> None:
    answer = await LocalProvider(WordEmbedder()).answer("Which green pigment catches the light?", PASSAGES)
    assert 1 <= len(answer.quotes) <= 3
    scores = [quote.score for quote in answer.quotes]
    assert scores == sorted(scores, reverse=True)
    assert all(quote.text in PASSAGES[quote.passage - 1].text for quote in answer.quotes)


async def test_a_question_about_something_else_is_not_answered() -> None:
    answer = await LocalProvider(WordEmbedder()).answer("Which airline flies from Lima to Cusco?", PASSAGES)
    assert (answer.answered, answer.quotes, answer.text) == (False, (), NO_ANSWER)


async def test_without_passages_or_words_nothing_is_embedded_and_nothing_answered() -> None:
    embedder = WordEmbedder()
    provider = LocalProvider(embedder)
    for question, passages in [("Why?", []), ("", PASSAGES), ("?!", PASSAGES), ("Why?", [passage(1, "# Heading", 1)])]:
        assert not (await provider.answer(question, passages)).answered
    assert embedder.calls == []


async def test_one_call_embeds_the_question_and_a_few_sentences() -> None:
    embedder = WordEmbedder()
    await LocalProvider(embedder).answer("Which green pigment catches the light?", PASSAGES)
    assert len(embedder.calls) == 1
    assert embedder.calls[0][0] == "Which green pigment catches the light?"
    assert len(embedder.calls[0]) <= 1 + SHORTLIST


async def test_an_embedder_without_token_vectors_will_do() -> None:
    question = "Chlorophyll, the green pigment, catches what?"
    answer = await LocalProvider(WordEmbedder(tokens=False)).answer(question, PASSAGES)
    assert answer.quotes[0].text == "Chlorophyll, the green pigment, catches the light."


@pytest.mark.parametrize("scores", [(0.0, 0.0, 0.0), (-1.0, -2.0, -3.0), (1 / 61, 1 / 62, 1 / 63)])
async def test_any_scale_of_scores_will_do(scores: tuple[float, ...]) -> None:
    passages = [
        passage(n, text, score) for n, (text, score) in enumerate(zip((LEAF, TIDES, RUST), scores, strict=True))
    ]
    answer = await LocalProvider(WordEmbedder()).answer("Which green pigment catches the light?", passages)
    assert answer.quotes[0].text.startswith("Chlorophyll")


@given(st.text(max_size=60), st.lists(st.text(max_size=120), max_size=6))
async def test_whatever_is_asked_of_whatever_text_quotes_are_verbatim(question: str, texts: list[str]) -> None:
    passages = [passage(number, text, 1.0) for number, text in enumerate(texts)]
    answer = await LocalProvider(WordEmbedder()).answer(question, passages)
    assert answer.answered == bool(answer.quotes)
    assert len(answer.quotes) <= 3
    assert all(quote.text in texts[quote.passage - 1] for quote in answer.quotes)


def test_headings_are_not_sentences_and_list_items_are() -> None:
    assert [sentence.text for sentence in read([passage(1, RUST, 1)])] == [
        "Iron rusts in damp air.",
        "Steel rusts because it holds iron.",
        "- zinc protects it",
        "- paint too",
    ]


def test_a_question_is_its_content_words_and_names() -> None:
    question = Question.parse("When did Jan Ingenhousz describe the 3 parts of photosynthesis?")
    assert question.terms == ("jan", "ingenhousz", "3", "part", "photosynthesi")
    assert question.names == {"jan", "ingenhousz", "3"}
    assert question.kind == "date"


def test_a_question_of_function_words_is_asked_with_those() -> None:
    assert Question.parse("Who are you?").terms == ("who", "are", "you")


def test_other_forms_of_a_word_count_less() -> None:
    (sentence,) = read([passage(1, "The photosynthetic bacteria grow.", 1)])
    assert match(stem("bacteria"), sentence) == 1
    assert 0 < match(stem("photosynthesis"), sentence) < 1
    assert match("moon", sentence) == 0


@pytest.mark.parametrize(
    ("question", "kind"),
    [
        ("When was it built?", "date"),
        ("What year did it end?", "date"),
        ("In which century did he live?", "date"),
        ("How many bones are there?", "number"),
        ("What percentage of air is oxygen?", "number"),
        ("Who discovered radium?", "name"),
        ("Where does it grow?", "name"),
        ("Why does iron rust?", "reason"),
        ("What causes tides?", "reason"),
        ("What is photosynthesis?", "definition"),
        ("Name the parts of a cell.", None),
    ],
)
def test_the_type_of_answer_is_told_by_the_question(question: str, kind: str | None) -> None:
    assert answer_type(question) == kind


@pytest.mark.parametrize(
    ("kind", "sentence", "question", "held"),
    [
        ("date", "It ended in 1918.", "When did it end?", True),
        ("date", "It ended soon.", "When did it end?", False),
        ("date", "In 1918 it rained.", "What happened in May of 1918, when it rained?", False),
        ("number", "There are 206 bones.", "How many bones are there?", True),
        ("name", "It was found by Marie Curie.", "Who found it?", True),
        ("name", "Radium glows.", "Who found radium?", False),
        ("reason", "It rusts because air is damp.", "Why does it rust?", True),
        ("definition", "Photosynthesis is the making of sugar.", "What is photosynthesis?", True),
    ],
)
def test_a_sentence_holds_what_is_asked_for_unless_the_question_has_it(
    kind: str, sentence: str, question: str, held: bool
) -> None:
    assert holds(kind, sentence, question) is held
