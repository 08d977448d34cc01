"""Requests from and to responses."""

from typing import Any

import pytest

from deployments.protocols import Dialect
from kit.errors import UnprocessableError, ValidationError
from tests.deployments.provider_caller.translators.official import pair, valid_request

PNG, PDF = "data:image/png;base64,iVBORw==", "data:application/pdf;base64,JVBERg=="
WEATHER = {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]}
GRAMMAR = {"definition": "start: WORD", "syntax": "lark"}


def from_responses(to: Dialect = "openai_chat", **body: Any) -> dict[str, Any]:
    request = {"model": "auto", "input": "Hi", **body}
    translated = pair("openai_responses", to).request(request, model="a-model")
    return valid_request(to, translated)


def to_responses(caller: Dialect = "openai_chat", **body: Any) -> dict[str, Any]:
    limit = {"max_tokens": 100} if caller == "anthropic_messages" else {}
    request = {"model": "auto", "messages": [{"role": "user", "content": "Hi"}], **limit, **body}
    translated = pair(caller, "openai_responses").request(request, model="gpt-6-luna")
    return valid_request("openai_responses", translated)


CONVERSATION: list[dict[str, Any]] = [
    {"role": "developer", "content": "Be brief."},
    {
        "role": "user",
        "content": [
            {"type": "input_text", "text": "Look"},
            {"type": "input_image", "image_url": PNG, "detail": "low"},
            {"type": "input_file", "file_data": PDF, "filename": "a.pdf"},
        ],
    },
    {"type": "reasoning", "id": "rs_1", "summary": [], "encrypted_content": "ZW5j"},
    {
        "type": "message",
        "id": "msg_1",
        "role": "assistant",
        "status": "completed",
        "content": [{"type": "output_text", "text": "I look.", "annotations": []}],
    },
    {"type": "function_call", "call_id": "call_1", "name": "weather", "arguments": '{"city":"Paris"}'},
    {"type": "function_call", "call_id": "call_2", "name": "weather", "arguments": '{"city":"Rome"}'},
    {"type": "function_call_output", "call_id": "call_1", "output": "Sun"},
    {
        "type": "function_call_output",
        "call_id": "call_2",
        "output": [{"type": "input_text", "text": "Rain"}, {"type": "input_image", "image_url": PNG}],
    },
]


class TestResponsesToChat:
    def test_instructions_and_a_plain_text(self) -> None:
        assert from_responses(instructions="Be brief.", max_output_tokens=9, temperature=0.2, stream=True) == {
            "model": "a-model",
            "messages": [{"role": "system", "content": "Be brief."}, {"role": "user", "content": "Hi"}],
            "max_completion_tokens": 9,
            "temperature": 0.2,
            "stream": True,
        }

    def test_items_become_messages_and_calls_stand_in_the_message_that_made_them(self) -> None:
        def call(id: str, arguments: str) -> dict[str, Any]:
            return {"id": id, "type": "function", "function": {"name": "weather", "arguments": arguments}}

        assert from_responses(input=CONVERSATION)["messages"] == [
            {"role": "developer", "content": "Be brief."},
            {
                "role": "user",
                "content": [
                    {"type": "text", "text": "Look"},
                    {"type": "image_url", "image_url": {"url": PNG, "detail": "low"}},
                    {"type": "file", "file": {"file_data": PDF, "filename": "a.pdf"}},
                ],
            },
            {
                "role": "assistant",
                "content": "I look.",
                "tool_calls": [call("call_1", '{"city":"Paris"}'), call("call_2", '{"city":"Rome"}')],
            },
            {"role": "tool", "tool_call_id": "call_1", "content": "Sun"},
            {"role": "tool", "tool_call_id": "call_2", "content": "Rain"},
            {
                "role": "user",
                "content": [
                    {"type": "text", "text": "The tool call call_2 returned:"},
                    {"type": "image_url", "image_url": {"url": PNG}},
                ],
            },
        ]

    def test_what_was_said_around_a_call_stands_in_its_message_so_that_the_result_follows_at_once(self) -> None:
        items = [
            {"role": "user", "content": "Q"},
            {"role": "assistant", "content": "Well."},
            {"type": "function_call", "call_id": "call_1", "name": "f", "arguments": "{}"},
            {"role": "assistant", "content": "I look."},
            {"type": "function_call_output", "call_id": "call_1", "output": "Sun"},
        ]
        messages = from_responses(input=items)["messages"]
        assert [message["role"] for message in messages] == ["user", "assistant", "tool"]
        assert [message["content"] for message in messages] == ["Q", "Well.\n\nI look.", "Sun"]

    def test_tools_formats_and_reasoning(self) -> None:
        body = from_responses(
            tools=[
                {"type": "function", "name": "weather", "description": "D", "parameters": WEATHER, "strict": True},
                {"type": "custom", "name": "patch", "format": {"type": "grammar", **GRAMMAR}},
            ],
            tool_choice={"type": "function", "name": "weather"},
            parallel_tool_calls=False,
            text={
                "format": {"type": "json_schema", "name": "city", "schema": WEATHER, "strict": True},
                "verbosity": "low",
            },
            reasoning={"effort": "high", "summary": "auto"},
        )
        function = {"name": "weather", "description": "D", "parameters": WEATHER, "strict": True}
        assert body["tools"] == [
            {"type": "function", "function": function},
            {"type": "custom", "custom": {"name": "patch", "format": {"type": "grammar", "grammar": GRAMMAR}}},
        ]
        assert body["tool_choice"] == {"type": "function", "function": {"name": "weather"}}
        assert body["parallel_tool_calls"] is False
        schema = {"name": "city", "schema": WEATHER, "strict": True}
        assert body["response_format"] == {"type": "json_schema", "json_schema": schema}
        assert (body["verbosity"], body["reasoning_effort"]) == ("low", "high")
        assert "reasoning_summary" not in body

    def test_allowed_tools_are_nested(self) -> None:
        tools = [{"type": "function", "name": "weather", "parameters": WEATHER, "strict": False}]
        choice = {"type": "allowed_tools", "mode": "auto", "tools": [{"type": "function", "name": "weather"}]}
        named = [{"type": "function", "function": {"name": "weather"}}]
        assert from_responses(tools=tools, tool_choice=choice)["tool_choice"] == {
            "type": "allowed_tools",
            "allowed_tools": {"mode": "auto", "tools": named},
        }

    @pytest.mark.parametrize("provider", ["openai_chat", "anthropic_messages"])
    @pytest.mark.parametrize(
        ("field", "body"),
        [
            ("previous_response_id", {"previous_response_id": "resp_1"}),
            ("conversation", {"conversation": "conv_1"}),
            ("background", {"background": True}),
            ("prompt", {"prompt": {"id": "pmpt_1"}}),
            ("top_logprobs", {"include": ["message.output_text.logprobs"]}),
            ("tools[0].type", {"tools": [{"type": "file_search", "vector_store_ids": ["v"]}]}),
            ("tools[0].type", {"tools": [{"type": "web_search"}]}),
            ("input[0]", {"input": [{"type": "item_reference", "id": "msg_1"}]}),
            ("input[0].type", {"input": [{"type": "web_search_call", "id": "ws_1", "status": "completed"}]}),
            (
                "input[0].content[0].file_id",
                {"input": [{"role": "user", "content": [{"type": "input_image", "file_id": "f", "detail": "auto"}]}]},
            ),
        ],
    )
    def test_what_needs_openais_servers_is_refused_by_its_name(
        self, provider: Dialect, field: str, body: dict[str, Any]
    ) -> None:
        with pytest.raises(UnprocessableError) as refusal:
            from_responses(provider, **body)
        assert list(refusal.value.details) == [field]

    def test_a_document_by_its_address_is_refused_for_chat_and_kept_for_messages(self) -> None:
        file = {"type": "input_file", "file_url": "https://example.org/a.pdf"}
        items = [{"role": "user", "content": [file]}]
        with pytest.raises(UnprocessableError) as refusal:
            from_responses(input=items)
        assert list(refusal.value.details) == ["input"]
        content = from_responses("anthropic_messages", input=items)["messages"][0]["content"]
        assert content == [{"type": "document", "source": {"type": "url", "url": "https://example.org/a.pdf"}}]

    @pytest.mark.parametrize(
        ("field", "body"),
        [
            ("input", {"input": []}),
            ("input", {"input": None}),
            ("input[0].role", {"input": [{"role": "robot", "content": "Hi"}]}),
            ("input[0].call_id", {"input": [{"type": "function_call_output", "output": "x"}]}),
            ("tool_choice", {"tools": [{"type": "custom", "name": "f"}], "tool_choice": "some"}),
        ],
    )
    def test_what_is_wrong_is_named(self, field: str, body: dict[str, Any]) -> None:
        with pytest.raises(ValidationError) as problem:
            from_responses(**body)
        assert list(problem.value.details) == [field]


class TestResponsesToMessages:
    def test_a_conversation_with_tools(self) -> None:
        body = from_responses("anthropic_messages", input=CONVERSATION, instructions="Help.")
        assert body["system"] == [{"type": "text", "text": "Help."}, {"type": "text", "text": "Be brief."}]
        assert [turn["role"] for turn in body["messages"]] == ["user", "assistant", "user"]
        assert [block["type"] for block in body["messages"][1]["content"]] == ["text", "tool_use", "tool_use"]
        kinds = [block["type"] for block in body["messages"][2]["content"]]
        assert kinds == ["tool_result", "tool_result", "text", "image"]

    def test_a_summary_is_shown_where_it_was_asked_for(self) -> None:
        body = from_responses("anthropic_messages", reasoning={"effort": "high", "summary": "auto"})
        assert body["thinking"] == {"type": "adaptive", "display": "summarized"}
        assert body["output_config"] == {"effort": "high"}

    def test_refusals_of_the_second_step_are_told_in_the_callers_words(self) -> None:
        with pytest.raises(UnprocessableError) as refusal:
            from_responses("anthropic_messages", text={"format": {"type": "json_object"}})
        assert list(refusal.value.details) == ["text.format"]
        assert "`text.format`" in refusal.value.message


class TestChatToResponses:
    def test_nothing_is_stored_unless_it_is_asked_for(self) -> None:
        assert to_responses() == {"model": "gpt-6-luna", "input": [{"role": "user", "content": "Hi"}], "store": False}
        assert to_responses(store=True)["store"] is True

    def test_a_conversation_with_tools(self) -> None:
        call = {"id": "call_1", "type": "function", "function": {"name": "weather", "arguments": "{}"}}
        patch = {"id": "call_2", "type": "custom", "custom": {"name": "patch", "input": "abc"}}
        messages = [
            {"role": "system", "content": "Be brief."},
            {
                "role": "user",
                "content": [
                    {"type": "text", "text": "Look"},
                    {"type": "image_url", "image_url": {"url": PNG}},
                    {"type": "file", "file": {"file_data": PDF, "filename": "a.pdf"}},
                ],
            },
            {"role": "assistant", "content": [{"type": "text", "text": "I look."}], "tool_calls": [call, patch]},
            {"role": "tool", "tool_call_id": "call_1", "content": "Sun"},
            {"role": "tool", "tool_call_id": "call_2", "content": [{"type": "text", "text": "done"}]},
        ]
        assert to_responses(messages=messages)["input"] == [
            {"role": "system", "content": "Be brief."},
            {
                "role": "user",
                "content": [
                    {"type": "input_text", "text": "Look"},
                    {"type": "input_image", "image_url": PNG, "detail": "auto"},
                    {"type": "input_file", "file_data": PDF, "filename": "a.pdf"},
                ],
            },
            {"role": "assistant", "content": "I look."},
            {"type": "function_call", "call_id": "call_1", "name": "weather", "arguments": "{}"},
            {"type": "custom_tool_call", "call_id": "call_2", "name": "patch", "input": "abc"},
            {"type": "function_call_output", "call_id": "call_1", "output": "Sun"},
            {
                "type": "custom_tool_call_output",
                "call_id": "call_2",
                "output": [{"type": "input_text", "text": "done"}],
            },
        ]

    def test_tools_formats_and_reasoning(self) -> None:
        body = to_responses(
            tools=[
                {"type": "function", "function": {"name": "weather", "parameters": WEATHER}},
                {"type": "custom", "custom": {"name": "patch", "format": {"type": "grammar", "grammar": GRAMMAR}}},
            ],
            tool_choice={"type": "custom", "custom": {"name": "patch"}},
            response_format={"type": "json_schema", "json_schema": {"name": "city", "schema": WEATHER}},
            verbosity="low",
            reasoning_effort="low",
            max_completion_tokens=50,
        )
        assert body["tools"] == [
            {"type": "function", "name": "weather", "parameters": WEATHER, "strict": False},
            {"type": "custom", "name": "patch", "format": {"type": "grammar", **GRAMMAR}},
        ]
        assert body["tool_choice"] == {"type": "custom", "name": "patch"}
        form = {"type": "json_schema", "name": "city", "schema": WEATHER}
        assert body["text"] == {"format": form, "verbosity": "low"}
        assert body["reasoning"] == {"effort": "low"}
        assert body["include"] == ["reasoning.encrypted_content"]
        assert body["max_output_tokens"] == 50

    def test_stop_sequences_are_refused_in_the_callers_words(self) -> None:
        for caller, name in (("openai_chat", "stop"), ("anthropic_messages", "stop_sequences")):
            with pytest.raises(UnprocessableError) as refusal:
                to_responses(caller, **{name: ["END"]})  # type: ignore[arg-type]
            assert list(refusal.value.details) == [name]


class TestMessagesToResponses:
    def test_a_conversation_with_tools_and_a_document_by_its_address(self) -> None:
        messages = [
            {
                "role": "user",
                "content": [{"type": "document", "source": {"type": "url", "url": "https://example.org/a.pdf"}}],
            },
            {"role": "assistant", "content": [{"type": "tool_use", "id": "toolu_1", "name": "f", "input": {"a": 1}}]},
            {"role": "user", "content": [{"type": "tool_result", "tool_use_id": "toolu_1", "content": "Sun"}]},
        ]
        body = to_responses(
            "anthropic_messages", messages=messages, thinking={"type": "adaptive", "display": "summarized"}
        )
        assert body["input"] == [
            {"role": "user", "content": [{"type": "input_file", "file_url": "https://example.org/a.pdf"}]},
            {"type": "function_call", "call_id": "toolu_1", "name": "f", "arguments": '{"a":1}'},
            {"type": "function_call_output", "call_id": "toolu_1", "output": "Sun"},
        ]
        assert body["reasoning"] == {"summary": "auto"}
        assert body["max_output_tokens"] == 100
