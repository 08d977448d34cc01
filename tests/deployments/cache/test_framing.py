from hypothesis import given, settings
from hypothesis import strategies as st

from deployments.cache.framing import VERSION, decode, encode
from deployments.protocols import CachedAnswer

METADATA = st.dictionaries(st.text(max_size=5), st.none() | st.integers(0, 2**53 - 1) | st.text(max_size=5), max_size=4)


@settings(deadline=None)
@given(st.binary(max_size=300), METADATA)
def test_an_answer_comes_back_as_it_was(body: bytes, metadata: dict[str, object]) -> None:
    answer = CachedAnswer(body, metadata)
    stored = encode(answer, max_bytes=1000)
    assert stored is not None
    assert decode(stored, max_bytes=1000) == answer


@settings(deadline=None)
@given(st.binary(max_size=100))
def test_anything_else_is_nothing(stored: bytes) -> None:
    assert decode(stored, max_bytes=1000) is None
    assert decode(VERSION + stored, max_bytes=1000) is None


@settings(deadline=None)
@given(st.data())
def test_a_damaged_answer_is_nothing(data: st.DataObject) -> None:
    stored = encode(CachedAnswer(b"The answer is 42. " * 5, {"cost": 1}), max_bytes=1000)
    assert stored is not None
    position = data.draw(st.integers(0, len(stored) - 1))
    damaged = stored[:position] + bytes([stored[position] ^ data.draw(st.integers(1, 255))]) + stored[position + 1 :]
    found = decode(damaged, max_bytes=1000)
    assert found is None or found == CachedAnswer(b"The answer is 42. " * 5, {"cost": 1})
    assert decode(stored[:position], max_bytes=1000) is None


def test_neither_large_answers_nor_those_that_unpack_to_more_are_kept() -> None:
    answer = CachedAnswer(b"0" * 1000)
    assert encode(answer, max_bytes=999) is None
    stored = encode(answer, max_bytes=2000)
    assert stored is not None
    assert len(stored) < 100
    assert decode(stored, max_bytes=500) is None
