import importlib.util
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from deployments.embedder.model import OnnxEmbedder

DATA = Path(__file__).parents[2] / "data"


def _reference_texts() -> list[str]:
    spec = importlib.util.spec_from_file_location("reference", DATA / "make_minilm_reference.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    texts: list[str] = module.REFERENCE_TEXTS
    return texts


@pytest.mark.parametrize(("precision", "least"), [("fp32", 0.9999), ("int8", 0.97)])
def test_vectors_are_those_of_sentence_transformers(
    precision: str, least: float, request: pytest.FixtureRequest
) -> None:
    model: OnnxEmbedder = request.getfixturevalue(precision)
    reference = np.load(DATA / "minilm_reference.npz")
    embeddings = model.encode(_reference_texts(), tokens=True)
    cosines = (embeddings.sentences * reference["sentences"]).sum(axis=1)
    assert cosines.min() >= least
    token_cosines = (embeddings.tokens[3].vectors * reference["tokens"]).sum(axis=1)
    assert token_cosines.min() >= least


@given(texts=st.lists(st.text(max_size=80), max_size=12), max_texts=st.integers(1, 5), max_tokens=st.integers(1, 64))
@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_a_text_has_the_same_vectors_whatever_goes_through_the_model_with_it(
    fp32: OnnxEmbedder, texts: list[str], max_texts: int, max_tokens: int
) -> None:
    together = fp32.encode(texts, tokens=True, max_texts=max_texts, max_tokens=max_tokens)
    assert together.sentences.shape == (len(texts), 384)
    assert len(together.tokens) == len(together.token_counts) == len(texts)
    for index, text in enumerate(texts):
        alone = fp32.encode([text], tokens=True)
        assert together.token_counts[index] == alone.token_counts[0]
        np.testing.assert_allclose(together.sentences[index], alone.sentences[0], atol=2e-5)
        np.testing.assert_allclose(together.tokens[index].vectors, alone.tokens[0].vectors, atol=2e-5)
        np.testing.assert_array_equal(together.tokens[index].offsets, alone.tokens[0].offsets)


@given(text=st.text(max_size=200))
@settings(max_examples=50, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_every_token_points_into_its_text(int8: OnnxEmbedder, text: str) -> None:
    (encoded,) = int8.tokenizer.encode([text])
    assert encoded.offsets.shape == (len(encoded) - 2, 2)
    for start, end in encoded.offsets:
        assert 0 <= start <= end <= len(text)


def test_offsets_are_characters_of_the_text_as_given(int8: OnnxEmbedder) -> None:
    text = "Das Öl, 😀 THE  Sun."
    (tokens,) = int8.encode([text], tokens=True).tokens
    assert [text[start:end] for start, end in tokens.offsets] == ["Das", "Öl", ",", "😀", "THE", "Sun", "."]
    assert tokens.vectors.shape == (7, 384)
    np.testing.assert_allclose(np.linalg.norm(tokens.vectors, axis=1), 1, atol=1e-5)


def test_an_empty_text_has_a_sentence_vector_and_no_tokens(int8: OnnxEmbedder) -> None:
    embeddings = int8.encode([""], tokens=True)
    assert embeddings.token_counts == (2,)
    assert embeddings.tokens[0].vectors.shape == (0, 384)
    assert embeddings.tokens[0].offsets.shape == (0, 2)
    assert np.linalg.norm(embeddings.sentences[0]) == pytest.approx(1, abs=1e-5)


def test_no_texts_have_no_vectors(int8: OnnxEmbedder) -> None:
    embeddings = int8.encode([], tokens=True)
    assert embeddings.sentences.shape == (0, 384)
    assert embeddings.token_counts == embeddings.tokens == ()


def test_a_long_text_is_cut_at_the_window(int8: OnnxEmbedder) -> None:
    embeddings = int8.encode(["river " * 1000, "river " * 254], tokens=True)
    assert embeddings.token_counts == (256, 256)
    np.testing.assert_allclose(embeddings.sentences[0], embeddings.sentences[1], atol=1e-6)


def test_tokens_are_left_out_unless_asked_for(int8: OnnxEmbedder) -> None:
    assert int8.encode(["a", "b"]).tokens == ()


def test_a_lone_surrogate_counts_as_one_character(int8: OnnxEmbedder) -> None:
    (tokens,) = int8.encode(["a \ud800 b"], tokens=True).tokens
    assert tokens.offsets.tolist() == [[0, 1], [2, 3], [4, 5]]
