import orjson
from hypothesis import given
from hypothesis import strategies as st

from deployments.provider_caller.estimate import Delivered, output_tokens


def sse(*contents: object) -> bytes:
    return b"".join(b"data: " + orjson.dumps(content) + b"\n\n" for content in contents)


@given(st.lists(st.text(max_size=40), max_size=20), st.integers(1, 8))
def test_what_streams_deliver_is_counted_as_the_whole_is(texts: list[str], step: int) -> None:
    chunks = [sse({"choices": [{"delta": {"content": text}}]}) for text in texts]
    delivered = Delivered("openai_chat")
    for start in range(0, len(chunks), step):
        delivered.add(b"".join(chunks[start : start + step]))
        assert delivered.tokens >= 0  # Asking in between changes nothing.
    whole = {"choices": [{"message": {"content": "".join(texts)}}]}
    assert delivered.tokens == output_tokens(whole, "openai_chat")


def test_reasoning_and_the_arguments_of_tools_count_in_every_dialect() -> None:
    call = {"function": {"name": "weather", "arguments": '{"a":'}}
    chat = Delivered("openai_chat")
    chat.add(sse({"choices": [{"delta": {"reasoning": "abc"}}]}, {"choices": [{"delta": {"tool_calls": [call]}}]}))
    assert chat.tokens == 2

    messages = Delivered("anthropic_messages")
    block = {"type": "content_block_start", "content_block": {"type": "tool_use", "name": "weather", "input": {}}}
    deltas = ({"thinking": "abc"}, {"partial_json": '{"a":'}, {"signature": "0123456789"})
    messages.add(sse(block, *({"type": "content_block_delta", "delta": delta} for delta in deltas)))
    assert messages.tokens == 2

    responses = Delivered("openai_responses")
    kinds = ("response.reasoning_text.delta", "response.function_call_arguments.delta", "response.audio.delta")
    responses.add(sse(*({"type": kind, "delta": "abcd"} for kind in kinds)))
    assert responses.tokens == 2


def test_a_long_stream_is_counted_in_parts() -> None:
    delivered = Delivered("openai_chat")
    piece = sse({"choices": [{"delta": {"content": "x" * 4000}}]})
    for _ in range(100):
        delivered.add(piece)
    assert len(delivered._pieces) < 100
    assert delivered.tokens == 100_000
