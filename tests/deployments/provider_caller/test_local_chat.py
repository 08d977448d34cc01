from collections.abc import Callable, Sequence
from typing import Any
from uuid import UUID

import orjson
import pytest
from openai.types.chat import ChatCompletion, ChatCompletionChunk

from deployments.protocols import Passage, ProviderRequest, StreamStart
from deployments.provider_caller.local import ExtractiveAnswer, Quote
from deployments.provider_caller.local_client import LocalClient
from deployments.provider_caller.sse import parse_events
from kit.errors import UnprocessableError, ValidationError

Ask = Callable[..., ProviderRequest]

PASSAGE = Passage(UUID(int=1), UUID(int=2), "Plants", "plants.md", "Leaves", "Leaves are green. Roots drink.", 0.9)
QUOTES = (Quote(1, "Leaves are green.", 2.0), Quote(1, "Roots drink.", 1.0))
ANSWER = ExtractiveAnswer(True, QUOTES, "“Leaves are green.” [1]\n\n“Roots drink.” [1]")


class Quotes:
    """Stands where the extractive provider does and answers what a test sets."""

    def __init__(self, answer: ExtractiveAnswer) -> None:
        self._answer = answer

    async def answer(self, question: str, passages: Sequence[Passage]) -> ExtractiveAnswer:
        return self._answer


@pytest.fixture
def local(caller: Any) -> Any:
    caller._local = LocalClient(Quotes(ANSWER))
    return caller


@pytest.fixture
def ask_local(ask: Ask) -> Ask:
    def build(body: dict[str, Any] | None = None, **more: Any) -> ProviderRequest:
        fields = {"passages": (PASSAGE,), "question": "What colour are leaves?", **more}
        return ask("local", "local/extractive", body=orjson.dumps(body or {}), **fields)

    return build


async def test_an_extractive_answer_is_a_genuine_chat_completion(local: Any, ask_local: Ask) -> None:
    reply = await local.complete(ask_local())
    content = orjson.loads(reply.body)
    completion = ChatCompletion.model_validate(content, strict=False)
    assert completion.choices[0].message.content == ANSWER.text
    assert completion.choices[0].finish_reason == "stop"
    assert completion.usage is not None
    assert completion.usage.total_tokens == reply.usage.input_tokens + reply.usage.output_tokens > 0
    assert content["penstock"] == {
        "answered": True,
        "citations": [{"passage": 1, "text": "Leaves are green."}, {"passage": 1, "text": "Roots drink."}],
    }


async def test_it_costs_nothing_and_that_is_known(local: Any, ask_local: Ask) -> None:
    assert (await local.complete(ask_local())).usage.cost == 0


async def test_a_stream_brings_the_same_text_sentence_by_sentence(local: Any, ask_local: Ask) -> None:
    request = ask_local({"stream_options": {"include_usage": True}})
    start, *items, _ = [item async for item in local.stream(request)]
    assert start == StreamStart("local", "local/extractive")
    *parsed, done = parse_events(b"".join(items))
    assert done.data == b"[DONE]"
    contents = [orjson.loads(event.data) for event in parsed]
    chunks = [ChatCompletionChunk.model_validate(content) for content in contents]
    pieces = [chunk.choices[0].delta.content for chunk in chunks if chunk.choices and chunk.choices[0].delta.content]
    assert len(pieces) > 1
    assert "".join(pieces) == ANSWER.text
    assert chunks[-2].choices[0].finish_reason == "stop"
    assert contents[-2]["penstock"]["answered"] is True
    assert chunks[-1].usage is not None


async def test_usage_is_streamed_only_when_asked_for(local: Any, ask_local: Ask) -> None:
    items = [item async for item in local.stream(ask_local())]
    assert b'"usage"' not in b"".join(items[1:-1])


async def test_that_no_passage_answers_is_said_in_the_answer(local: Any, ask_local: Ask) -> None:
    local._local = LocalClient(Quotes(ExtractiveAnswer(False, (), "No passage answers this.")))
    content = orjson.loads((await local.complete(ask_local())).body)
    assert content["penstock"] == {"answered": False, "citations": []}
    assert content["choices"][0]["message"]["content"] == "No passage answers this."


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({"tools": [{"type": "function"}]}, "tools"),
        ({"response_format": {"type": "json_schema", "json_schema": {}}}, "response_format"),
        ({"n": 2}, "n"),
    ],
)
async def test_what_quoting_cannot_do_is_refused_by_name(
    local: Any, ask_local: Ask, body: dict[str, Any], field: str
) -> None:
    with pytest.raises(UnprocessableError) as caught:
        await local.complete(ask_local(body))
    assert list(caught.value.details) == [field]
    with pytest.raises(UnprocessableError):
        await anext(local.stream(ask_local(body)))


async def test_a_question_without_passages_is_refused(local: Any, ask_local: Ask) -> None:
    with pytest.raises(UnprocessableError, match="no passages"):
        await local.complete(ask_local(passages=()))


async def test_plain_text_may_be_asked_for_outright(local: Any, ask_local: Ask) -> None:
    await local.complete(ask_local({"response_format": {"type": "text"}, "tools": [], "n": 1}))


async def test_a_body_that_is_no_json_is_a_bad_request(local: Any, ask: Ask) -> None:
    with pytest.raises(ValidationError):
        await local.complete(ask("local", "local/extractive", body=b"{", passages=(PASSAGE,)))
