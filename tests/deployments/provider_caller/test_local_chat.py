from collections.abc import Callable, Sequence
from typing import Any
from uuid import UUID

import orjson
import pytest
from openai.types.chat import ChatCompletion, ChatCompletionChunk

from deployments.protocols import Passage
from deployments.provider_caller.call import Call, Endpoint
from deployments.provider_caller.local import ExtractiveAnswer, Quote
from deployments.provider_caller.local_client import LocalClient
from deployments.provider_caller.sse import parse_events
from kit.errors import UnprocessableError

Ask = Callable[..., Call]

PASSAGE = Passage(UUID(int=1), UUID(int=2), "Plants", "plants.md", "Leaves", "Leaves are green. Roots drink.", 0.9)
QUOTES = (Quote(1, "Leaves are green.", 2.0), Quote(1, "Roots drink.", 1.0))
ANSWER = ExtractiveAnswer(True, QUOTES, "“Leaves are green.” [1]\n\n“Roots drink.” [1]")
ENDPOINT = Endpoint("local", "local", "", None)


class Quotes:
    """Stands where the extractive provider does and answers what a test sets."""

    def __init__(self, answer: ExtractiveAnswer) -> None:
        self._answer = answer

    async def answer(self, question: str, passages: Sequence[Passage]) -> ExtractiveAnswer:
        return self._answer


@pytest.fixture
def local() -> LocalClient:
    return LocalClient(Quotes(ANSWER))


@pytest.fixture
def ask(call: Any) -> Ask:
    def build(body: dict[str, Any] | None = None, **more: Any) -> Call:
        fields = {"passages": (PASSAGE,), "question": "What colour are leaves?", **more}
        return call(orjson.dumps(body or {}), provider="local", model="local/extractive", **fields)

    return build


async def test_an_extractive_answer_is_a_genuine_chat_completion(local: LocalClient, ask: Ask) -> None:
    completed = await local.complete(ENDPOINT, ask())
    content = orjson.loads(completed.body)
    completion = ChatCompletion.model_validate(content, strict=False)
    assert completion.choices[0].message.content == ANSWER.text
    assert completion.choices[0].finish_reason == "stop"
    assert completion.usage is not None
    assert completed.usage is not None
    assert completion.usage.total_tokens == completed.usage.input_tokens + completed.usage.output_tokens > 0
    assert content["penstock"] == {
        "answered": True,
        "citations": [{"passage": 1, "text": "Leaves are green."}, {"passage": 1, "text": "Roots drink."}],
    }


async def test_it_costs_nothing_and_that_is_known(local: LocalClient, ask: Ask) -> None:
    usage = (await local.complete(ENDPOINT, ask())).usage
    assert usage is not None
    assert usage.cost == 0


async def test_a_stream_brings_the_same_text_sentence_by_sentence(local: LocalClient, ask: Ask) -> None:
    stream = await local.open(ENDPOINT, ask({"stream_options": {"include_usage": True}}))
    assert not stream.complete
    *parsed, done = parse_events(b"".join([item async for item in stream.events()]))
    assert done.data == b"[DONE]"
    assert stream.complete
    contents = [orjson.loads(event.data) for event in parsed]
    chunks = [ChatCompletionChunk.model_validate(content) for content in contents]
    pieces = [chunk.choices[0].delta.content for chunk in chunks if chunk.choices and chunk.choices[0].delta.content]
    assert len(pieces) > 1
    assert "".join(pieces) == ANSWER.text
    assert chunks[-2].choices[0].finish_reason == "stop"
    assert contents[-2]["penstock"]["answered"] is True
    assert chunks[-1].usage is not None


async def test_usage_is_streamed_only_when_asked_for(local: LocalClient, ask: Ask) -> None:
    stream = await local.open(ENDPOINT, ask())
    assert b'"usage"' not in b"".join([item async for item in stream.events()])


async def test_that_no_passage_answers_is_said_in_the_answer(ask: Ask) -> None:
    local = LocalClient(Quotes(ExtractiveAnswer(False, (), "No passage answers this.")))
    content = orjson.loads((await local.complete(ENDPOINT, ask())).body)
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
    local: LocalClient, ask: Ask, body: dict[str, Any], field: str
) -> None:
    with pytest.raises(UnprocessableError) as caught:
        await local.complete(ENDPOINT, ask(body))
    assert list(caught.value.details) == [field]
    with pytest.raises(UnprocessableError):
        await local.open(ENDPOINT, ask(body))


async def test_a_question_without_passages_is_refused(local: LocalClient, ask: Ask) -> None:
    with pytest.raises(UnprocessableError, match="no passages"):
        await local.complete(ENDPOINT, ask(passages=()))


async def test_plain_text_may_be_asked_for_outright(local: LocalClient, ask: Ask) -> None:
    await local.complete(ENDPOINT, ask({"response_format": {"type": "text"}, "tools": [], "n": 1}))
