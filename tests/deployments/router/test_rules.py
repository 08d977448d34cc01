import pytest

from deployments.router import rules
from deployments.router.examples import load_examples


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
    found = rules.match(rules.excerpt(question))
    assert found is not None
    assert found.operation == operation


@pytest.mark.parametrize(
    "question",
    [
        "bananas",
        "Who wrote Hamlet?",
        "Is my proof by induction complete?",
        "Take me step by step through place value.",
        "I'm proud of my garden this year.",
        "Write a short song for my class",
        "Review my pull request",
    ],
)
def test_what_is_not_plain_is_left_to_the_classifier(question: str) -> None:
    assert rules.match(rules.excerpt(question)) is None


def test_no_gate_keeps_out_what_its_patterns_match() -> None:
    texts = [example.text.lower() for example in load_examples()]
    assert all(rule.fits(text) for rule in rules.RULES for text in texts if rule.pattern.search(text))


def test_a_long_text_is_read_at_both_ends() -> None:
    filler = "lorem ipsum " * 5000
    for text in (f"Quiz me on this: {filler}", f"{filler} Quiz me on this."):
        found = rules.match(rules.excerpt(text))
        assert found is not None
        assert found.operation == "practice"
