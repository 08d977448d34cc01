import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from deployments.reranker.late_interaction import BLOCK_TOKENS, max_similarity, quantize


def unit(rows: int, seed: int, width: int = 8) -> np.ndarray:
    vectors = np.random.default_rng(seed).standard_normal((rows, width)).astype(np.float32)
    return vectors / np.linalg.norm(vectors, axis=1, keepdims=True)


@given(st.lists(st.integers(0, BLOCK_TOKENS + 40), max_size=6), st.integers(1, 9))
def test_blocks_give_the_scores_of_a_plain_computation(lengths: list[int], question_tokens: int) -> None:
    question = unit(question_tokens, 1)
    passages = [quantize(unit(length, 10 + number)) for number, length in enumerate(lengths)]
    expected = [
        (question @ (passage.astype(np.float32) / 127).T).max(axis=1).mean() if len(passage) else np.nan
        for passage in passages
    ]
    np.testing.assert_allclose(max_similarity(question, passages), np.array(expected, dtype=np.float32), atol=1e-5)


def test_a_passage_that_holds_every_word_of_the_question_scores_one() -> None:
    question = unit(5, 3, width=384)
    held = quantize(np.concatenate([unit(7, 4, width=384), question]))
    assert max_similarity(question, [held])[0] > 0.99


def test_a_question_without_tokens_has_no_scores() -> None:
    assert np.isnan(max_similarity(np.empty((0, 8), dtype=np.float32), [quantize(unit(2, 1))])).all()
