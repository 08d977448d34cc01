from hypothesis import given
from hypothesis import strategies as st

from deployments.embedder.batching import RUN_COST, plan

lengths_of_texts = st.lists(st.integers(2, 256), max_size=60)


@given(lengths=lengths_of_texts, max_texts=st.integers(1, 16), max_tokens=st.integers(1, 1024))
def test_every_text_is_in_one_batch_and_no_batch_is_too_large(
    lengths: list[int], max_texts: int, max_tokens: int
) -> None:
    batches = list(plan(lengths, max_texts=max_texts, max_tokens=max_tokens))
    assert sorted(index for batch in batches for index in batch) == list(range(len(lengths)))
    for batch in batches:
        assert 1 <= len(batch) <= max_texts
        assert len(batch) == 1 or len(batch) * max(lengths[index] for index in batch) <= max_tokens


@given(lengths=lengths_of_texts)
def test_padding_never_costs_more_than_the_runs_it_saves(lengths: list[int]) -> None:
    for batch in plan(lengths, max_texts=1000, max_tokens=1_000_000):
        inside = [lengths[index] for index in batch]
        assert len(batch) * max(inside) - sum(inside) <= RUN_COST * (len(batch) - 1)


def test_short_texts_do_not_go_with_long_ones() -> None:
    assert list(plan([250, 10, 251, 11, 10], max_texts=32, max_tokens=4096)) == [[1, 4, 3], [0, 2]]
