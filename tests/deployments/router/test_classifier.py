"""How well operation types are found, on questions that the examples do not contain, with the real embedding model."""

from collections import Counter
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import orjson
import pytest

from deployments.embedder.export import ensure_model
from deployments.embedder.model import OnnxEmbedder
from deployments.protocols import Account, RouteRequest, Vectors
from deployments.router.classifier import Classifier, WordClassifier
from deployments.router.classify import at_once, by_vector, by_words
from deployments.router.examples import Example, load_examples
from deployments.router.rules import OPERATIONS, excerpt
from deployments.router.vocabulary import Vocabulary, tokens

LABELLED = Path(__file__).parents[2] / "data" / "routing_labelled.jsonl"


@dataclass(frozen=True)
class Labelled:
    text: str
    operation: str
    part: str


def labelled() -> list[Labelled]:
    return [Labelled(**orjson.loads(line)) for line in LABELLED.read_bytes().splitlines()]


@dataclass(frozen=True)
class Trained:
    """Classifiers as the router fits them, and the vectors of the labelled questions."""

    words: WordClassifier
    classifier: Classifier
    example_vectors: Vectors
    vectors: Vectors

    def operation(self, index: int, text: str) -> str:
        request = RouteRequest(Account("t"), "auto", text, self.vectors[index])
        finding = at_once(request, self.words) or by_vector(request, self.classifier, "chat")
        return finding.operation


@pytest.fixture(scope="module")
def trained(model_home: Path) -> Trained:
    model = OnnxEmbedder(ensure_model(model_home, "int8"), threads=1)

    def embed(texts: list[str]) -> Vectors:
        return np.concatenate([model.encode(texts[n : n + 64]).sentences for n in range(0, len(texts), 64)])

    examples = load_examples()
    words = WordClassifier(examples)
    vectors = embed([example.text for example in examples])
    return Trained(words, Classifier(words, examples, vectors), vectors, embed([q.text for q in labelled()]))


@pytest.mark.parametrize("part", ["development", "held_out"])
def test_nine_of_ten_questions_get_their_type(trained: Trained, part: str) -> None:
    right: Counter[str] = Counter()
    asked: Counter[str] = Counter()
    for index, question in enumerate(labelled()):
        if question.part == part:
            asked[question.operation] += 1
            right[question.operation] += trained.operation(index, question.text) == question.operation
    assert asked == dict.fromkeys(OPERATIONS, 25)
    assert right.total() / asked.total() >= 0.9
    assert min(right[operation] / asked[operation] for operation in OPERATIONS) >= 0.8


def test_what_needs_no_vector_is_right_and_common(trained: Trained) -> None:
    found = [(at_once(RouteRequest(Account("t"), "auto", q.text), trained.words), q) for q in labelled()]
    settled = [(finding.operation, q.operation) for finding, q in found if finding is not None]
    assert len(settled) / len(found) >= 0.4
    assert np.mean([mine == right for mine, right in settled]) >= 0.95


def test_without_a_vector_most_types_are_still_found(trained: Trained) -> None:
    requests = [(RouteRequest(Account("t"), "auto", q.text), q.operation) for q in labelled()]
    found = [by_words(request, trained.words, "chat").operation == operation for request, operation in requests]
    assert np.mean(found) >= 0.8


def test_no_example_is_a_near_copy_of_a_labelled_question(trained: Trained) -> None:
    similar = (trained.example_vectors @ trained.vectors.T).max(axis=1)
    assert similar.max() < 0.9, load_examples()[int(similar.argmax())]
    questions = [set(tokens(excerpt(question.text))) for question in labelled()]
    for example in load_examples():
        words = set(tokens(excerpt(example.text)))
        shared = max(len(words & question) / len(words | question) for question in questions)
        # Short questions of fact ("What is the capital of ...?") share all but one name.
        assert shared < 0.8, example


def test_examples_are_written_once_and_even(trained: Trained) -> None:
    examples = load_examples()
    assert len({example.text.lower() for example in examples}) == len(examples)
    assert len(set(Counter(example.operation for example in examples).values())) == 1


EXAMPLES = (
    Example("add salt to water", "curriculum"),
    Example("salt in water", "curriculum"),
    Example("my loop crashes", "code"),
    Example("a loop that crashes", "code"),
)


def test_words_alone_tell_types_apart() -> None:
    words = WordClassifier(EXAMPLES)
    guesses = [words.guess("why does this loop crash"), words.guess("salt and water")]
    assert [guess and guess.operation for guess in guesses] == ["code", "curriculum"]


def test_what_is_like_no_example_gets_no_guess() -> None:
    words = WordClassifier(EXAMPLES)
    assert words.guess("zebras") is None
    nothing = np.zeros((4, 3), np.float32)
    assert Classifier(words, EXAMPLES, nothing).guess("zebras", nothing[0]) is None


def test_the_vector_decides_where_words_do_not() -> None:
    words = WordClassifier(EXAMPLES)
    vectors = np.eye(2, dtype=np.float32)[[0, 0, 1, 1]]
    guess = Classifier(words, EXAMPLES, vectors).guess("zebras", vectors[3])
    assert guess is not None
    assert guess.operation == "code"


def test_any_number_is_the_same_word() -> None:
    assert tokens("solve 12 + x") == ["^", "solve", "0", "+", "x", "$"]
    vocabulary = Vocabulary(["add 1", "add 22"])
    assert vocabulary.rows("add 333") == vocabulary.rows("add 1")


def test_a_text_is_a_unit_vector_or_nothing() -> None:
    matrix = Vocabulary(["add 1", "add 22"]).matrix(["add 3", "zebras", ""])
    assert np.linalg.norm(matrix, axis=1) == pytest.approx([1, 0, 0])
