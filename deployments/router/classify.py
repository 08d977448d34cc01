"""Finds a question's operation type: as the caller says, by a rule, or by the classifiers."""

from dataclasses import dataclass
from typing import Literal

from deployments.protocols import RouteRequest
from deployments.router import rules
from deployments.router.classifier import Classifier, Guess, WordClassifier

Source = Literal["caller", "rule", "classifier", "default"]


@dataclass(frozen=True, slots=True)
class Finding:
    """because: the beginning of a sentence that says why."""

    operation: str
    because: str
    source: Source


def at_once(request: RouteRequest, words: WordClassifier) -> Finding | None:
    """The type where it is certain without a sentence vector; None where a vector would help."""
    found = _look(request, words)
    if isinstance(found, Finding):
        return found
    return _learnt(found) if found is not None and found.sure else None


def by_words(request: RouteRequest, words: WordClassifier, default: str) -> Finding:
    """The type as well as it can be told without a vector."""
    found = _look(request, words)
    if isinstance(found, Finding):
        return found
    return _learnt(found) if found is not None else _default(default)


def by_vector(request: RouteRequest, classifier: Classifier, default: str) -> Finding:
    """The best guess with the vector of the request, which must have one."""
    assert request.vector is not None
    guess = classifier.guess(rules.excerpt(request.question), request.vector)
    return _learnt(guess) if guess is not None else _default(default)


def _look(request: RouteRequest, words: WordClassifier) -> Finding | Guess | None:
    if request.operation is not None:
        return Finding(request.operation, f"The caller asked for {request.operation}", "caller")
    text = rules.excerpt(request.question)
    found = rules.match(text)
    if found is not None:
        return Finding(found.operation, f"The question {found.because} ({found.operation})", "rule")
    return words.guess(text)


def _learnt(guess: Guess) -> Finding:
    because = f"The question is most like the {guess.operation} examples"
    return Finding(guess.operation, because, "classifier")


def _default(operation: str) -> Finding:
    return Finding(operation, f"The question is like no example and is taken as {operation}", "default")
