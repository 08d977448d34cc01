"""What goes further than text: reasoning that must come back, refusals, citations, stop reasons."""

from typing import Any

import pytest

from deployments.protocols import Dialect
from tests.deployments.provider_caller.translators.answers import Answer, Call, whole
from tests.deployments.provider_caller.translators.official import pair, valid_reply, valid_request

THOUGHT = Answer(reasoning="Hm.", text="I look.", calls=(Call("call_1", "f", "{}"),), stop="tool_calls")
SIGNED = {"type": "thinking", "thinking": "Hm.", "signature": "c2ln"}


def message(*blocks: dict[str, Any], stop: str = "end_turn", **more: Any) -> dict[str, Any]:
    usage = {"input_tokens": 1, "output_tokens": 1}
    head = {"id": "msg_1", "type": "message", "role": "assistant", "model": "m", "content": list(blocks)}
    return valid_reply(
        "anthropic_messages", {**head, "stop_reason": stop, "stop_sequence": None, "usage": usage, **more}
    )


class TestReasoningComesBackToItsOwner:
    def test_anthropics_signature_through_a_chat_client(self) -> None:
        translator = pair("openai_chat", "anthropic_messages")
        said = translator.reply(whole("anthropic_messages", THOUGHT), {})["choices"][0]["message"]
        assert said["reasoning_content"] == "Hm."
        result = {"role": "tool", "tool_call_id": "call_1", "content": "Sun"}
        body = translator.request(
            {"messages": [{"role": "user", "content": "Q"}, said, result]}, model="claude-opus-5-5"
        )
        assert body["messages"][1]["content"][0] == SIGNED

    def test_anthropics_signature_through_a_responses_client(self) -> None:
        translator = pair("openai_responses", "anthropic_messages")
        output = translator.reply(whole("anthropic_messages", THOUGHT), {})["output"]
        valid_request("openai_responses", {"model": "m", "input": output})
        body = translator.request({"input": [{"role": "user", "content": "Q"}, *output]}, model="claude-opus-5-5")
        assert body["messages"][1]["content"][0] == SIGNED

    def test_redacted_thinking_through_a_responses_client(self) -> None:
        translator = pair("openai_responses", "anthropic_messages")
        redacted = {"type": "redacted_thinking", "data": "ZGF0YQ"}
        output = translator.reply(message(redacted, {"type": "text", "text": "A"}), {})["output"]
        body = translator.request({"input": [{"role": "user", "content": "Q"}, *output]}, model="claude-opus-5-5")
        assert body["messages"][1]["content"][0] == redacted

    def test_openais_encrypted_reasoning_through_a_messages_client(self) -> None:
        translator = pair("anthropic_messages", "openai_responses")
        said = translator.reply(whole("openai_responses", THOUGHT), {})
        turns = [{"role": "user", "content": "Q"}, {"role": "assistant", "content": said["content"]}]
        turns.append({"role": "user", "content": [{"type": "tool_result", "tool_use_id": "call_1", "content": "Sun"}]})
        body = translator.request({"max_tokens": 9, "messages": turns}, model="gpt-6-luna")
        summary = [{"type": "summary_text", "text": "Hm."}]
        assert body["input"][1] == {"type": "reasoning", "id": "rs_1", "summary": summary, "encrypted_content": "ZW5j"}

    @pytest.mark.parametrize("provider", ["openai_chat", "anthropic_messages"])
    def test_and_to_nobody_else(self, provider: Dialect) -> None:
        foreign = {"type": "reasoning", "id": "rs_1", "summary": [], "encrypted_content": "openai_reasoning:rs_1:ZW5j"}
        items = [
            {"role": "user", "content": "Q"},
            foreign,
            {"role": "assistant", "content": "A"},
            {"role": "user", "content": "R"},
        ]
        body = pair("openai_responses", provider).request({"input": items}, model="m")
        assert body["messages"][1] == {"role": "assistant", "content": "A"}

    def test_an_answer_without_calls_carries_no_state_that_other_servers_would_refuse(self) -> None:
        plain = Answer(reasoning="Hm.", text="A")
        said = pair("openai_chat", "anthropic_messages").reply(whole("anthropic_messages", plain), {})
        assert "thinking_blocks" not in said["choices"][0]["message"]


class TestRefusals:
    def test_of_a_chat_model(self) -> None:
        completion = whole("openai_chat", Answer(text="x"))
        completion["choices"][0]["message"] |= {"content": None, "refusal": "I cannot."}
        to_messages = valid_reply("anthropic_messages", pair("anthropic_messages", "openai_chat").reply(completion, {}))
        assert to_messages["content"] == [{"type": "text", "text": "I cannot."}]
        assert to_messages["stop_reason"] == "refusal"
        to_responses = valid_reply("openai_responses", pair("openai_responses", "openai_chat").reply(completion, {}))
        assert to_responses["output"][0]["content"] == [{"type": "refusal", "refusal": "I cannot."}]
        assert to_responses["status"] == "completed"

    def test_of_claude_with_its_explanation(self) -> None:
        details = {"type": "refusal", "category": "bio", "explanation": "Too dangerous."}
        refused = message({"type": "text", "text": "I"}, stop="refusal", stop_details=details)
        choice = pair("openai_chat", "anthropic_messages").reply(refused, {})["choices"][0]
        assert choice["finish_reason"] == "content_filter"
        assert (choice["message"]["content"], choice["message"]["refusal"]) == ("I", "Too dangerous.")
        response = valid_reply("openai_responses", pair("openai_responses", "anthropic_messages").reply(refused, {}))
        assert response["incomplete_details"] == {"reason": "content_filter"}


class TestStopReasons:
    @pytest.mark.parametrize(
        ("stop", "finish", "status"),
        [
            ("end_turn", "stop", "completed"),
            ("stop_sequence", "stop", "completed"),
            ("max_tokens", "length", "incomplete"),
            ("model_context_window_exceeded", "length", "incomplete"),
            ("pause_turn", "length", "incomplete"),
            ("refusal", "content_filter", "incomplete"),
        ],
    )
    def test_of_claude(self, stop: str, finish: str, status: str) -> None:
        answer = message({"type": "text", "text": "A"}, stop=stop)
        assert pair("openai_chat", "anthropic_messages").reply(answer, {})["choices"][0]["finish_reason"] == finish
        assert pair("openai_responses", "anthropic_messages").reply(answer, {})["status"] == status

    def test_a_new_reason_is_an_ordinary_end(self) -> None:
        answer = message({"type": "text", "text": "A"}) | {"stop_reason": "bored"}
        assert pair("openai_chat", "anthropic_messages").reply(answer, {})["choices"][0]["finish_reason"] == "stop"

    def test_stop_with_calls_is_a_call_for_tools(self) -> None:
        completion = whole("openai_chat", THOUGHT)
        completion["choices"][0]["finish_reason"] = "stop"
        assert pair("anthropic_messages", "openai_chat").reply(completion, {})["stop_reason"] == "tool_use"


class TestCitations:
    def test_pages_that_claude_cites(self) -> None:
        cited = {
            "type": "web_search_result_location", "url": "https://example.org", "title": "T",
            "cited_text": "c", "encrypted_index": "e",
        }  # fmt: skip
        answer = message({"type": "text", "text": "So: "}, {"type": "text", "text": "it is.", "citations": [cited]})
        reply = valid_reply("openai_chat", pair("openai_chat", "anthropic_messages").reply(answer, {}))
        place = {"url": "https://example.org", "title": "T", "start_index": 4, "end_index": 10}
        assert reply["choices"][0]["message"]["annotations"] == [{"type": "url_citation", "url_citation": place}]

    def test_between_chat_and_responses(self) -> None:
        place = {"url": "https://example.org", "title": "T", "start_index": 1, "end_index": 2}
        completion = whole("openai_chat", Answer(text="Hello"))
        completion["choices"][0]["message"]["annotations"] = [{"type": "url_citation", "url_citation": place}]
        response = valid_reply("openai_responses", pair("openai_responses", "openai_chat").reply(completion, {}))
        assert response["output"][0]["content"][0]["annotations"] == [{"type": "url_citation", **place}]
        back = pair("openai_chat", "openai_responses").reply(response, {})
        assert back["choices"][0]["message"]["annotations"] == [{"type": "url_citation", "url_citation": place}]


def test_hosted_tools_of_the_provider_are_passed_over() -> None:
    use = {"type": "server_tool_use", "id": "srvtoolu_1", "name": "web_search", "input": {}}
    reply = pair("openai_chat", "anthropic_messages").reply(message(use, {"type": "text", "text": "A"}), {})
    assert valid_reply("openai_chat", reply)["choices"][0]["message"]["content"] == "A"


def test_a_custom_call_passes_between_responses_and_chat() -> None:
    item = {"type": "custom_tool_call", "id": "ctc_1", "call_id": "call_1", "name": "patch", "input": "abc"}
    response = whole("openai_responses", Answer(text="A")) | {"output": [item]}
    reply = valid_reply("openai_chat", pair("openai_chat", "openai_responses").reply(response, {}))
    said = reply["choices"][0]["message"]["tool_calls"]
    assert said == [{"id": "call_1", "type": "custom", "custom": {"name": "patch", "input": "abc"}}]
    back = valid_reply("openai_responses", pair("openai_responses", "openai_chat").reply(reply, {}))
    assert (back["output"][0]["name"], back["output"][0]["input"]) == ("patch", "abc")
