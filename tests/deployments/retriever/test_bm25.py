from concurrent.futures import ThreadPoolExecutor

import bm25s
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from deployments.retriever.bm25 import K1, B, Bm25Index
from kit.words import terms

TEXTS = ["Plants make sugar from light.", "The moon pulls the tides.", "Sugar dissolves in water; sugar is sweet."]
texts = st.lists(st.text(alphabet=st.sampled_from("abc xyz."), max_size=20), max_size=8)


def test_the_text_that_shares_the_rarest_words_scores_best() -> None:
    assert int(np.argmax(Bm25Index.build(TEXTS).scores("What pulls on tides?"))) == 1


def test_other_forms_of_a_word_match() -> None:
    assert Bm25Index.build(TEXTS).scores("dissolving")[2] > 0


def test_texts_without_a_common_word_score_zero() -> None:
    scores = Bm25Index.build(TEXTS).scores("moon")
    assert scores.dtype == np.float32
    assert scores.tolist()[0] == scores.tolist()[2] == 0


@pytest.mark.parametrize("query", ["", "the", "zebra", "!?"])
def test_a_query_without_a_known_word_scores_every_text_zero(query: str) -> None:
    assert Bm25Index.build(TEXTS).scores(query).tolist() == [0, 0, 0]


@pytest.mark.parametrize("corpus", [[], [""], ["the", "..."]])
def test_an_index_without_a_word_can_be_asked(corpus: list[str]) -> None:
    assert Bm25Index.build(corpus).scores("water").tolist() == [0.0] * len(corpus)


@given(texts, st.text(alphabet=st.sampled_from("abc xyz."), max_size=20))
def test_scores_are_finite_never_negative_and_one_for_each_text(corpus: list[str], query: str) -> None:
    scores = Bm25Index.build(corpus).scores(query)
    assert scores.shape == (len(corpus),)
    assert np.isfinite(scores).all()
    assert (scores >= 0).all()


def test_threads_get_the_same_scores() -> None:
    index = Bm25Index.build(TEXTS * 50)
    expected = index.scores("sugar and water").tolist()
    with ThreadPoolExecutor(4) as pool:
        assert all(found.tolist() == expected for found in pool.map(index.scores, ["sugar and water"] * 40))


@given(texts, st.text(alphabet=st.sampled_from("abc xyz."), max_size=20))
def test_scores_are_those_of_the_reference_implementation(corpus: list[str], query: str) -> None:
    corpus = [*corpus, "anchor"]
    reference = bm25s.BM25(method="lucene", k1=K1, b=B)
    reference.index([terms(text) for text in corpus], show_progress=False)
    known = reference.get_tokens_ids(terms(query))
    expected = reference.get_scores_from_ids(known) if known else np.zeros(len(corpus))
    np.testing.assert_allclose(Bm25Index.build(corpus).scores(query), expected, rtol=1e-5, atol=1e-6)


@given(texts, texts, st.data())
def test_a_changed_index_is_the_one_that_is_built_from_the_texts_left(
    before: list[str], added: list[str], data: st.DataObject
) -> None:
    index = Bm25Index.build(before)
    keep = [row for row in range(len(before)) if data.draw(st.booleans())]
    changed = index.changed(np.array(keep, np.intp), added)
    expected = Bm25Index.build([*(before[row] for row in keep), *added])
    for query in ("abc", "xyz ab", *added):
        np.testing.assert_allclose(changed.scores(query), expected.scores(query), rtol=1e-5)
        np.testing.assert_array_equal(index.scores(query), Bm25Index.build(before).scores(query))
