import orjson
from hypothesis import given, settings
from hypothesis import strategies as st

from deployments.protocols import Usage
from deployments.provider_caller.sse import parse_events
from deployments.provider_caller.stream_watch import StreamWatch

TRICKY = st.sampled_from(["[DONE]", '"error"', '"usage":{', "word", "data: [DONE]\n\n", ""])
ENDS = st.sampled_from([b"\n\n", b"\r\n\r\n"])


def chunk(text: str) -> bytes:
    return b"data: " + orjson.dumps({"choices": [{"delta": {"content": text}}], "usage": None})


@settings(deadline=None)
@given(st.lists(st.tuples(TRICKY, ENDS)), st.lists(st.tuples(TRICKY, ENDS)), ENDS)
def test_only_a_real_end_ends_a_stream(
    before: list[tuple[str, bytes]], after: list[tuple[str, bytes]], ends: bytes
) -> None:
    watch = StreamWatch()
    text = b"".join(chunk(words) + end for words, end in before)
    comment = b': "error" [DONE]' + ends
    assert watch.see(text + comment) == text + comment
    assert not watch.ended
    done = b"data: [DONE]" + ends
    assert watch.see(text + done + b"".join(chunk(words) + end for words, end in after)) == text + done
    assert (watch.done, watch.failed) == (True, False)


@settings(deadline=None)
@given(st.lists(st.tuples(TRICKY, ENDS)), ENDS)
def test_usage_is_found_wherever_it_stands(around: list[tuple[str, bytes]], ends: bytes) -> None:
    text = b"".join(chunk(words) + end for words, end in around)
    counts = b'{"prompt_tokens":7,"completion_tokens":2,"prompt_tokens_details":{"cached_tokens":3}}'
    usage = b'data: {"choices":[],"usage": ' + counts + b"}"
    watch = StreamWatch()
    assert watch.see(text + usage + ends + text) == text + usage + ends + text
    assert watch.usage == Usage(7, 2, 3)


def test_nothing_is_read_after_an_error() -> None:
    error = b'data: {"error":{"message":"x"}}\n\n'
    watch = StreamWatch()
    assert watch.see(chunk("a") + b"\n\n" + error + b"data: [DONE]\n\n") == chunk("a") + b"\n\n" + error
    assert (watch.done, watch.failed) == (False, True)
    assert len(list(parse_events(error))) == 1
