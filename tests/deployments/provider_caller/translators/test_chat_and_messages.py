"""Requests between chat completions and messages."""

from typing import Any

import pytest

from deployments.provider_caller.translators.matrix import translator
from kit.errors import UnprocessableError, ValidationError
from tests.deployments.provider_caller.translators.official import pair, valid_request

PNG, PDF = "data:image/png;base64,iVBORw==", "data:application/pdf;base64,JVBERg=="
WEATHER = {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]}
CLOSED = {**WEATHER, "additionalProperties": False}


def to_messages(**body: Any) -> dict[str, Any]:
    request = {"model": "auto", "messages": [{"role": "user", "content": "Hi"}], **body}
    translated = pair("openai_chat", "anthropic_messages").request(request, model="claude-opus-5-5")
    return valid_request("anthropic_messages", translated)


def to_chat(**body: Any) -> dict[str, Any]:
    request = {"model": "auto", "max_tokens": 100, "messages": [{"role": "user", "content": "Hi"}], **body}
    translated = pair("anthropic_messages", "openai_chat").request(request, model="gpt-6-luna")
    return valid_request("openai_chat", translated)


def tool(name: str = "weather", schema: dict[str, Any] = WEATHER, **more: Any) -> dict[str, Any]:
    return {"type": "function", "function": {"name": name, "parameters": schema, **more}}


def chat_call(id: str, arguments: str = '{"city":"Paris"}') -> dict[str, Any]:
    return {"id": id, "type": "function", "function": {"name": "weather", "arguments": arguments}}


class TestChatToMessages:
    def test_model_and_the_limit_that_anthropic_needs_are_put_in(self) -> None:
        assert to_messages() == {
            "model": "claude-opus-5-5",
            "max_tokens": 4096,
            "messages": [{"role": "user", "content": "Hi"}],
        }

    def test_the_limit_of_callers_who_state_none_can_be_set(self) -> None:
        chosen = translator("openai_chat", "anthropic_messages", default_max_tokens=9)
        assert chosen.request({"messages": [{"role": "user", "content": "Hi"}]}, model="m")["max_tokens"] == 9

    @pytest.mark.parametrize("name", ["max_tokens", "max_completion_tokens"])
    def test_a_stated_limit_is_kept(self, name: str) -> None:
        assert to_messages(**{name: 7})["max_tokens"] == 7

    def test_system_and_developer_messages_become_the_system_prompt(self) -> None:
        said = [("system", "A"), ("user", "Q"), ("developer", "B")]
        body = to_messages(messages=[{"role": role, "content": text} for role, text in said])
        assert body["system"] == [{"type": "text", "text": "A"}, {"type": "text", "text": "B"}]
        assert body["messages"] == [{"role": "user", "content": "Q"}]

    def test_images_and_documents_become_blocks(self) -> None:
        parts = [
            {"type": "text", "text": "Look"},
            {"type": "image_url", "image_url": {"url": PNG, "detail": "high"}},
            {"type": "image_url", "image_url": {"url": "https://example.org/a.png"}},
            {"type": "file", "file": {"file_data": PDF, "filename": "a.pdf"}},
        ]
        content = to_messages(messages=[{"role": "user", "content": parts}])["messages"][0]["content"]
        assert content == [
            {"type": "text", "text": "Look"},
            {"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": "iVBORw=="}},
            {"type": "image", "source": {"type": "url", "url": "https://example.org/a.png"}},
            {
                "type": "document",
                "source": {"type": "base64", "media_type": "application/pdf", "data": "JVBERg=="},
                "title": "a.pdf",
            },
        ]

    def test_results_of_parallel_calls_are_blocks_of_one_turn(self) -> None:
        messages = [
            {"role": "user", "content": "Weather?"},
            {"role": "assistant", "content": "I look.", "tool_calls": [chat_call("call_1"), chat_call("call_2", "")]},
            {"role": "tool", "tool_call_id": "call_1", "content": "Sun"},
            {"role": "tool", "tool_call_id": "call_2", "content": [{"type": "text", "text": "Rain"}]},
            {"role": "user", "content": "And now?"},
        ]
        assert to_messages(messages=messages)["messages"] == [
            {"role": "user", "content": "Weather?"},
            {
                "role": "assistant",
                "content": [
                    {"type": "text", "text": "I look."},
                    {"type": "tool_use", "id": "call_1", "name": "weather", "input": {"city": "Paris"}},
                    {"type": "tool_use", "id": "call_2", "name": "weather", "input": {}},
                ],
            },
            {
                "role": "user",
                "content": [
                    {"type": "tool_result", "tool_use_id": "call_1", "content": "Sun"},
                    {"type": "tool_result", "tool_use_id": "call_2", "content": "Rain"},
                    {"type": "text", "text": "And now?"},
                ],
            },
        ]

    def test_messages_of_one_side_become_one_turn_and_empty_ones_none(self) -> None:
        said = [("user", "A"), ("user", "B"), ("assistant", ""), ("user", "C")]
        body = to_messages(messages=[{"role": role, "content": text} for role, text in said])
        assert [turn["role"] for turn in body["messages"]] == ["user"]
        assert [block["text"] for block in body["messages"][0]["content"]] == ["A", "B", "C"]

    def test_cache_marks_stay_on_parts_and_tools(self) -> None:
        mark = {"type": "ephemeral", "ttl": "1h"}
        body = to_messages(
            messages=[{"role": "user", "content": [{"type": "text", "text": "Long", "cache_control": mark}]}],
            tools=[{**tool(), "cache_control": mark}],
        )
        assert body["messages"][0]["content"] == [{"type": "text", "text": "Long", "cache_control": mark}]
        assert body["tools"][0]["cache_control"] == mark

    @pytest.mark.parametrize(
        ("asked", "expected"),
        [
            ({}, None),
            ({"tool_choice": "auto"}, None),
            ({"tool_choice": "none"}, {"type": "none"}),
            ({"tool_choice": "required"}, {"type": "any"}),
            ({"tool_choice": {"type": "function", "function": {"name": "clock"}}}, {"type": "tool", "name": "clock"}),
            ({"parallel_tool_calls": False}, {"type": "auto", "disable_parallel_tool_use": True}),
            ({"parallel_tool_calls": True}, None),
        ],
    )
    def test_how_tools_are_chosen(self, asked: dict[str, Any], expected: dict[str, Any] | None) -> None:
        assert to_messages(tools=[tool(), tool("clock")], **asked).get("tool_choice") == expected

    def test_tools_keep_their_schema_and_strictness(self) -> None:
        assert to_messages(tools=[tool(description="How it is", strict=True), tool("clock", {})])["tools"] == [
            {"name": "weather", "description": "How it is", "input_schema": WEATHER, "strict": True},
            {"name": "clock", "input_schema": {"type": "object", "properties": {}}},
        ]

    def test_allowed_tools_are_the_only_ones_that_are_given(self) -> None:
        allowed = {"mode": "required", "tools": [{"type": "function", "function": {"name": "clock"}}]}
        choice = {"type": "allowed_tools", "allowed_tools": allowed}
        body = to_messages(tools=[tool(), tool("clock")], tool_choice=choice)
        assert [one["name"] for one in body["tools"]] == ["clock"]
        assert body["tool_choice"] == {"type": "any"}

    def test_a_json_schema_is_the_output_format(self) -> None:
        wanted = {"type": "json_schema", "json_schema": {"name": "city", "schema": CLOSED, "strict": True}}
        assert to_messages(response_format=wanted)["output_config"] == {
            "format": {"type": "json_schema", "schema": CLOSED}
        }

    @pytest.mark.parametrize(
        ("model", "effort", "expected"),
        [
            ("claude-opus-5-5", "none", {"thinking": {"type": "disabled"}}),
            ("claude-opus-5-5", "minimal", {"thinking": {"type": "adaptive"}, "output_config": {"effort": "low"}}),
            ("claude-opus-5-5", "xhigh", {"thinking": {"type": "adaptive"}, "output_config": {"effort": "xhigh"}}),
            ("claude-sonnet-4-6", "xhigh", {"thinking": {"type": "adaptive"}, "output_config": {"effort": "high"}}),
            ("claude-haiku-4-5-20251001", "high", {"thinking": {"type": "enabled", "budget_tokens": 16384}}),
            ("claude-haiku-4-5", "low", {"thinking": {"type": "enabled", "budget_tokens": 2048}}),
        ],
    )
    def test_reasoning_effort_is_said_as_the_model_takes_it(
        self, model: str, effort: str, expected: dict[str, Any]
    ) -> None:
        request = {"messages": [{"role": "user", "content": "Hi"}], "max_tokens": 64000, "reasoning_effort": effort}
        body = pair("openai_chat", "anthropic_messages").request(request, model=model)
        valid_request("anthropic_messages", body)
        assert {name: body[name] for name in ("thinking", "output_config") if name in body} == expected

    def test_a_forced_tool_excludes_thinking(self) -> None:
        body = to_messages(tools=[tool()], tool_choice="required", reasoning_effort="high")
        assert "thinking" not in body
        assert body["output_config"] == {"effort": "high"}

    def test_settings_with_a_counterpart_are_kept_and_the_others_left_out(self) -> None:
        body = to_messages(
            stop="END", user="u-1", service_tier="default", stream=True, temperature=0.2, top_p=0.9, seed=1,
            presence_penalty=1, frequency_penalty=1, logit_bias={"50256": -100}, store=True, metadata={"a": "b"},
            verbosity="low", prompt_cache_key="k",
        )  # fmt: skip
        assert body == {
            "model": "claude-opus-5-5",
            "max_tokens": 4096,
            "messages": [{"role": "user", "content": "Hi"}],
            "stop_sequences": ["END"],
            "metadata": {"user_id": "u-1"},
            "service_tier": "standard_only",
            "stream": True,
        }

    @pytest.mark.parametrize(
        ("field", "body"),
        [
            ("n", {"n": 2}),
            ("logprobs", {"logprobs": True}),
            ("modalities", {"modalities": ["text", "audio"], "audio": {"voice": "alloy", "format": "wav"}}),
            ("functions", {"functions": [{"name": "f"}]}),
            ("web_search_options", {"web_search_options": {}}),
            ("response_format", {"response_format": {"type": "json_object"}}),
            ("tools[0].type", {"tools": [{"type": "custom", "custom": {"name": "f"}}]}),
            (
                "messages[0].content[0].type",
                {
                    "messages": [
                        {
                            "role": "user",
                            "content": [{"type": "input_audio", "input_audio": {"data": "", "format": "wav"}}],
                        }
                    ]
                },
            ),
            (
                "messages[0].content[0].file.file_id",
                {"messages": [{"role": "user", "content": [{"type": "file", "file": {"file_id": "file-1"}}]}]},
            ),
        ],
    )
    def test_what_anthropic_cannot_do_is_refused_by_its_name(self, field: str, body: dict[str, Any]) -> None:
        with pytest.raises(UnprocessableError) as refusal:
            to_messages(**body)
        assert list(refusal.value.details) == [field]
        assert field in refusal.value.message

    @pytest.mark.parametrize(
        ("field", "body"),
        [
            ("messages", {"messages": []}),
            ("messages[0]", {"messages": ["Hi"]}),
            ("messages[0].role", {"messages": [{"content": "Hi"}]}),
            ("messages[0].role", {"messages": [{"role": "robot", "content": "Hi"}]}),
            ("max_tokens", {"max_tokens": "many"}),
            ("tools[0].function.name", {"tools": [{"type": "function", "function": {}}]}),
            ("reasoning_effort", {"reasoning_effort": "enormous"}),
            (
                "messages[0].tool_calls[0].function.arguments",
                {"messages": [{"role": "assistant", "tool_calls": [chat_call("call_1", "[1")]}]},
            ),
        ],
    )
    def test_what_is_wrong_is_named(self, field: str, body: dict[str, Any]) -> None:
        with pytest.raises(ValidationError) as problem:
            to_messages(**body)
        assert list(problem.value.details) == [field]


class TestMessagesToChat:
    def test_system_prompt_and_limit(self) -> None:
        system = [{"type": "text", "text": "A", "cache_control": {"type": "ephemeral"}}, {"type": "text", "text": "B"}]
        body = to_chat(system=system)
        assert body["max_completion_tokens"] == 100
        assert body["messages"] == [
            {"role": "system", "content": [{"type": "text", "text": "A"}, {"type": "text", "text": "B"}]},
            {"role": "user", "content": "Hi"},
        ]

    def test_a_system_message_between_turns_stays_where_it_is(self) -> None:
        said = [("user", "A"), ("system", "S"), ("user", "B")]
        messages = [{"role": role, "content": text} for role, text in said]
        assert to_chat(messages=messages)["messages"] == messages

    def test_results_of_parallel_calls_are_messages_of_their_own(self) -> None:
        image = {"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": "iVBORw=="}}
        calls = [{"type": "tool_use", "id": f"toolu_{n}", "name": "weather", "input": {"n": n}} for n in (1, 2)]
        messages = [
            {"role": "user", "content": "Look"},
            {"role": "assistant", "content": [{"type": "text", "text": "I look."}, *calls]},
            {
                "role": "user",
                "content": [
                    {
                        "type": "tool_result",
                        "tool_use_id": "toolu_1",
                        "content": [{"type": "text", "text": "A"}, image],
                    },
                    {"type": "tool_result", "tool_use_id": "toolu_2", "content": "none", "is_error": True},
                    {"type": "text", "text": "And now?"},
                ],
            },
        ]
        assert to_chat(messages=messages)["messages"][1:] == [
            {
                "role": "assistant",
                "content": "I look.",
                "tool_calls": [
                    {"id": "toolu_1", "type": "function", "function": {"name": "weather", "arguments": '{"n":1}'}},
                    {"id": "toolu_2", "type": "function", "function": {"name": "weather", "arguments": '{"n":2}'}},
                ],
            },
            {"role": "tool", "tool_call_id": "toolu_1", "content": "A"},
            {"role": "tool", "tool_call_id": "toolu_2", "content": "Error: none"},
            {
                "role": "user",
                "content": [
                    {"type": "text", "text": "The tool call toolu_1 returned:"},
                    {"type": "image_url", "image_url": {"url": PNG}},
                    {"type": "text", "text": "And now?"},
                ],
            },
        ]

    def test_documents(self) -> None:
        blocks = [
            {"type": "document", "source": {"type": "base64", "media_type": "application/pdf", "data": "JVBERg=="}},
            {"type": "document", "title": "T", "source": {"type": "text", "media_type": "text/plain", "data": "body"}},
        ]
        assert to_chat(messages=[{"role": "user", "content": blocks}])["messages"][0]["content"] == [
            {"type": "file", "file": {"filename": "document.pdf", "file_data": PDF}},
            {"type": "text", "text": "T\n\nbody"},
        ]

    @pytest.mark.parametrize(
        ("choice", "expected"),
        [
            ({"type": "auto"}, {"tool_choice": "auto"}),
            ({"type": "any"}, {"tool_choice": "required"}),
            ({"type": "none"}, {"tool_choice": "none"}),
            (
                {"type": "tool", "name": "weather", "disable_parallel_tool_use": True},
                {
                    "tool_choice": {"type": "function", "function": {"name": "weather"}},
                    "parallel_tool_calls": False,
                },
            ),
        ],
    )
    def test_tools_and_how_they_are_chosen(self, choice: dict[str, Any], expected: dict[str, Any]) -> None:
        tools = [{"name": "weather", "description": "How it is", "input_schema": CLOSED, "strict": True}]
        body = to_chat(tools=tools, tool_choice=choice)
        assert body["tools"] == [tool(description="How it is", schema=CLOSED, strict=True)]
        assert {name: body[name] for name in ("tool_choice", "parallel_tool_calls") if name in body} == expected

    @pytest.mark.parametrize(("schema", "strict"), [(CLOSED, True), (WEATHER, False)])
    def test_the_output_format_is_strict_where_openai_can_be(self, schema: dict[str, Any], strict: bool) -> None:
        body = to_chat(output_config={"format": {"type": "json_schema", "schema": schema}})
        named = {"name": "answer", "schema": schema, "strict": strict}
        assert body["response_format"] == {"type": "json_schema", "json_schema": named}

    @pytest.mark.parametrize(
        ("asked", "effort"),
        [
            ({"thinking": {"type": "enabled", "budget_tokens": 1024}}, "low"),
            ({"thinking": {"type": "enabled", "budget_tokens": 8000}}, "medium"),
            ({"thinking": {"type": "enabled", "budget_tokens": 32000}}, "high"),
            ({"thinking": {"type": "adaptive", "display": "summarized"}, "output_config": {"effort": "max"}}, "max"),
            ({"thinking": {"type": "disabled"}}, None),
            ({"thinking": {"type": "adaptive"}}, None),
        ],
    )
    def test_thinking_becomes_an_effort(self, asked: dict[str, Any], effort: str | None) -> None:
        assert to_chat(**asked).get("reasoning_effort") == effort

    def test_settings(self) -> None:
        body = to_chat(
            stop_sequences=["END"],
            metadata={"user_id": "u-1"},
            service_tier="standard_only",
            stream=True,
            temperature=0.5,
        )
        kept = {name: body[name] for name in ("stop", "user", "service_tier", "stream", "temperature")}
        expected = {"stop": ["END"], "user": "u-1", "service_tier": "default", "stream": True, "temperature": 0.5}
        assert kept == expected

    def test_thinking_of_another_model_is_not_repeated(self) -> None:
        blocks = [
            {"type": "thinking", "thinking": "Hm", "signature": "c2ln"},
            {"type": "redacted_thinking", "data": "ZGF0YQ"},
            {"type": "text", "text": "No."},
        ]
        messages = [{"role": "assistant", "content": blocks}, {"role": "user", "content": "Why?"}]
        assert to_chat(messages=messages)["messages"][0] == {"role": "assistant", "content": "No."}

    @pytest.mark.parametrize(
        ("field", "body"),
        [
            ("max_tokens", {"max_tokens": 0}),
            ("container", {"container": "c-1"}),
            ("inference_geo", {"inference_geo": "us"}),
            ("tools[0].type", {"tools": [{"type": "web_search_20260318", "name": "web_search"}]}),
            ("messages[0]", {"messages": [{"role": "assistant", "content": "The answer is ("}]}),
            (
                "messages[0].content[0].source.type",
                {
                    "messages": [
                        {"role": "user", "content": [{"type": "image", "source": {"type": "file", "file_id": "f"}}]}
                    ]
                },
            ),
            (
                "messages[0].content[0]",
                {
                    "messages": [
                        {
                            "role": "user",
                            "content": [{"type": "document", "source": {"type": "url", "url": "https://a/b.pdf"}}],
                        }
                    ]
                },
            ),
        ],
    )
    def test_what_chat_cannot_say_is_refused_by_its_name(self, field: str, body: dict[str, Any]) -> None:
        with pytest.raises(UnprocessableError) as refusal:
            to_chat(**body)
        assert list(refusal.value.details) == [field]

    @pytest.mark.parametrize(
        ("field", "body"),
        [
            ("max_tokens", {"max_tokens": None}),
            ("messages", {"messages": []}),
            ("messages[0].content", {"messages": [{"role": "user"}]}),
            ("tools[0].input_schema", {"tools": [{"name": "f"}]}),
            ("tool_choice.type", {"tools": [{"name": "f", "input_schema": {}}], "tool_choice": {"type": "some"}}),
        ],
    )
    def test_what_is_wrong_is_named(self, field: str, body: dict[str, Any]) -> None:
        with pytest.raises(ValidationError) as problem:
            to_chat(**body)
        assert list(problem.value.details) == [field]
