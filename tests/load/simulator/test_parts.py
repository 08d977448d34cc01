"""Its parts without sockets."""

import random
import statistics

import jsonschema
import pytest
from hypothesis import given
from hypothesis import strategies as st

from load.simulator.generation import Generator, example
from load.simulator.latency import Latency, LatencyModel
from load.simulator.plain import plain_key
from load.simulator.prompt import Prompt
from load.simulator.tokens import answer_tokens, pieces, tokens_of

TEXTS = st.lists(st.text(max_size=40), min_size=1, max_size=4)


@given(st.integers(0, 9), st.integers(0, 200), st.integers(0, 50))
def test_every_token_is_four_ascii_bytes(seed, variant, count):
    tokens = answer_tokens(seed, variant, count)
    assert len(tokens) == count
    assert all(len(token) == 4 and token.isascii() for token in tokens)
    assert answer_tokens(seed, variant, count + 1)[:count] == tokens


@given(TEXTS)
def test_input_tokens_are_the_bytes_of_all_texts_over_four_and_at_least_one(texts):
    size = sum(len(text.encode()) for text in texts)
    assert Prompt("m", texts).tokens == max(1, -(-size // 4))


@given(TEXTS, st.integers(1, 40), st.integers(1, 3), st.booleans())
def test_output_tokens_are_the_delivered_bytes_over_four(texts, limit, choices, reasons):
    answer = Generator(1, 20).answer(Prompt("m", texts, max_tokens=limit, choices=choices, reasons=reasons))
    delivered = sum(len(choice.text) for choice in answer.choices) + sum(map(len, answer.reasoning))
    assert answer.output_tokens == tokens_of(delivered)
    assert all(len(choice.tokens) + len(answer.reasoning) <= limit for choice in answer.choices)


@given(st.text(alphabet=st.characters(max_codepoint=127), max_size=60))
def test_pieces_make_the_text(text):
    assert "".join(pieces(text)) == text


@pytest.mark.parametrize(
    "schema",
    [
        {"type": "object", "properties": {"a": {"type": "array", "items": {"type": "integer"}, "minItems": 2}}},
        {"type": "object", "properties": {"a": {"anyOf": [{"type": "null"}, {"type": "string"}]}}},
        {"$defs": {"n": {"type": "number", "minimum": 9}}, "properties": {"a": {"$ref": "#/$defs/n"}}},
        {"type": "object", "properties": {"a": {"const": "x"}, "b": {"enum": ["é"]}, "c": {"type": "boolean"}}},
    ],
)
def test_an_example_conforms_to_its_schema(schema):
    jsonschema.validate(example(schema), schema)


def test_plain_conversations_have_keys_that_differ_by_all_that_matters():
    body = {"model": "m", "messages": [{"role": "user", "content": "hi"}]}
    keys = [
        plain_key(body | more)
        for more in ({}, {"stream": True}, {"stream": 1}, {"max_tokens": 1}, {"max_tokens": 2}, {"model": "n"})
    ]
    assert None not in keys
    assert len(set(keys)) == len(keys)


@pytest.mark.parametrize(
    "more",
    [
        {"tools": []},
        {"model": "m!500"},
        {"messages": [{"role": "user", "content": "[[500]]"}]},
        {"messages": [{"role": "user", "content": [{"type": "text", "text": "hi"}]}]},
        {"messages": [{"role": "user", "content": "x" * 5000}]},
        {"messages": [{"role": "user"}]},
        {"messages": "hi"},
    ],
)
def test_other_requests_are_not_plain(more):
    assert plain_key({"model": "m", "messages": [{"role": "user", "content": "hi"}]} | more) is None


def test_first_tokens_have_the_stated_percentiles():
    source = random.Random(1)
    times = sorted(Latency(2.1, 5.0).first_token(source) for _ in range(20_000))
    assert statistics.median(times) == pytest.approx(2.1, rel=0.05)
    assert times[int(0.95 * len(times))] == pytest.approx(5.0, rel=0.08)


def test_a_day_knows_its_models():
    day = LatencyModel("day", time_scale=0.5)
    assert day.times("openai", "gpt-4o-mini")[1] == pytest.approx(0.5 / 150)
    assert day.times("groq", "llama-3.3-70b-versatile")[1] == pytest.approx(0.5 / 400)
    assert day.times("anthropic", "claude-sonnet-5-5")[1] == pytest.approx(0.5 / 80)
    assert LatencyModel().times("openai", "gpt-4o") == (0.0, 0.0)
