import pytest

from deployments.router import rules


@pytest.mark.parametrize(
    ("question", "operation"),
    [
        ("Prove that the square root of two is irrational", "reasoning"),
        ("Derive the quadratic formula", "reasoning"),
        ("Solve x^2 + 3x = 4", "reasoning"),
        ("What does this do?\n```\nx = 1\n```", "code"),
        ("ValueError: invalid literal for int()", "code"),
        ("Write a Python function that sorts a list", "code"),
        ("Summarise https://example.org/paper", "research"),
        ("What is the latest on fusion power?", "research"),
        ("Quiz me on the water cycle", "practice"),
        ("Give me three practice problems on fractions", "practice"),
        ("Check my answer: 7 x 8 = 54", "diagnostic"),
        ("Here is my proof. Which step does not hold?", "diagnostic"),
        ("What comes in lesson 4?", "curriculum"),
        ("Hello there!", "chat"),
    ],
)
def test_plain_signs_decide(question: str, operation: str) -> None:
    found = rules.match(question)
    assert found is not None
    assert (found.operation, found.sure) == (operation, True)


@pytest.mark.parametrize(
    ("question", "operation"), [("Who wrote Hamlet?", "factual"), ("Explain photosynthesis", "curriculum")]
)
def test_weak_signs_are_hints(question: str, operation: str) -> None:
    found = rules.match(question)
    assert found is not None
    assert (found.operation, found.sure) == (operation, False)


def test_no_sign_no_opinion() -> None:
    assert rules.match("bananas") is None
