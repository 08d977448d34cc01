"""The Agent API's requests and answers, as its public reference describes them: what the simulator is judged by, since
OpenAI's own types do not allow them. Unknown fields are errors there, at every level."""

from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True)


class ContentPart(_Strict):
    """A part of an input message."""

    type: Literal["input_text", "input_image", "output_text"]
    text: str | None = None
    image_url: str | None = None


class InputMessage(_Strict):
    """A message of the input."""

    role: Literal["user", "assistant", "system", "developer"]
    content: str | list[ContentPart]
    type: Literal["message"] = "message"


class FunctionCallInput(_Strict):
    """A call of an earlier turn."""

    type: Literal["function_call"]
    call_id: str
    name: str
    arguments: str
    thought_signature: str | None = None


class FunctionCallOutputInput(_Strict):
    """The result of such a call."""

    type: Literal["function_call_output"]
    call_id: str
    output: str
    name: str | None = None
    thought_signature: str | None = None


class FunctionTool(_Strict):
    """A function of the caller's."""

    type: Literal["function"]
    name: str
    description: str | None = None
    parameters: dict[str, Any] | None = None
    strict: bool | None = None


class WebSearchTool(_Strict):
    """Web search; the filters have many fields that no test needs."""

    type: Literal["web_search"]
    filters: dict[str, Any] | None = None
    max_results: Annotated[int, Field(ge=1, le=50)] | None = None
    max_tokens: int | None = None
    max_tokens_per_page: int | None = None
    search_context_size: Literal["low", "medium", "high"] | None = None
    search_type: Literal["web", "fast"] | None = None
    user_location: dict[str, Any] | None = None


class OtherTool(_Strict):
    """Perplexity's other tools, without their settings."""

    type: Literal["fetch_url", "people_search", "finance_search", "sandbox"]
    max_urls: int | None = None


class Reasoning(_Strict):
    """How hard the model thinks."""

    effort: Literal["minimal", "low", "medium", "high", "xhigh", "max"] | None = None


class JsonSchema(_Strict):
    """The schema of an answer."""

    schema_: dict[str, Any] = Field(alias="schema")
    name: str | None = None
    description: str | None = None
    strict: bool | None = None


class ResponseFormat(_Strict):
    """Top level here, not under `text`."""

    type: Literal["json_schema"]
    json_schema: JsonSchema


class StreamOptions(_Strict):
    """`include_usage` is true unless it is turned off."""

    include_usage: bool | None = None


class ToolChoice(_Strict):
    """An object form of `tool_choice`."""

    type: str | None = None
    name: str | None = None


class AgentRequest(_Strict):
    """`POST /v1/agent`."""

    input: str | list[InputMessage | FunctionCallInput | FunctionCallOutputInput]
    model: str | None = None
    models: Annotated[list[str], Field(min_length=1, max_length=5)] | None = None
    preset: str | None = None
    instructions: str | None = None
    language_preference: str | None = None
    max_output_tokens: Annotated[int, Field(ge=1)] | None = None
    max_steps: Annotated[int, Field(ge=1, le=100)] | None = None
    max_tool_calls: int | None = None
    temperature: Annotated[float, Field(ge=0, le=2)] | None = None
    top_p: Annotated[float, Field(ge=0, le=1)] | None = None
    reasoning: Reasoning | None = None
    response_format: ResponseFormat | None = None
    tools: list[FunctionTool | WebSearchTool | OtherTool] | None = None
    tool_choice: Literal["none", "auto", "required"] | ToolChoice | None = None
    parallel_tool_calls: bool | None = None
    previous_response_id: str | None = None
    background: bool | None = None
    store: bool | None = None
    truncation: Literal["auto", "disabled"] | None = None
    metadata: dict[str, str] | None = None
    skills: list[dict[str, Any]] | None = None
    stream: bool | None = None
    stream_options: StreamOptions | None = None

    @model_validator(mode="after")
    def _chosen(self) -> "AgentRequest":
        if not (self.model or self.models or self.preset):
            raise ValueError("model, models or preset is required")
        if (self.model or "").startswith("anthropic/") and self.max_output_tokens is None:
            raise ValueError("max_output_tokens is required when using Anthropic models")
        return self


Status = Literal["completed", "failed", "incomplete", "in_progress", "queued", "cancelled"]


class OutputText(_Strict):
    """The text of a message."""

    type: Literal["output_text"]
    text: str
    annotations: list[dict[str, Any]]


class MessageItem(_Strict):
    """The answer."""

    type: Literal["message"]
    id: str
    role: Literal["assistant"]
    status: Status
    content: list[OutputText]


class FunctionCallItem(_Strict):
    """A call that the caller is to make."""

    type: Literal["function_call"]
    id: str
    call_id: str
    name: str
    arguments: str
    status: Status


class SearchResult(_Strict):
    """A source."""

    id: int
    url: str
    title: str
    snippet: str
    date: str | None = None
    last_updated: str | None = None
    source: Literal["web"] | None = None


class SearchResultsItem(_Strict):
    """The sources of the answer."""

    type: Literal["search_results"]
    queries: list[str]
    results: list[SearchResult]


Item = MessageItem | FunctionCallItem | SearchResultsItem


class ErrorInfo(_Strict):
    """What went wrong."""

    message: str
    type: str | None = None
    code: str | None = None


class AgentResponse(BaseModel):
    """The response object; it may have more fields than these."""

    id: str
    object: Literal["response"]
    created_at: int
    model: str
    status: Status
    output: list[Item]
    error: ErrorInfo | None = None
    incomplete_details: dict[str, str] | None = None
    usage: dict[str, Any] | None = None


class ResponseEvent(_Strict):
    """Events that carry the whole response."""

    type: Literal["response.created", "response.in_progress", "response.completed", "response.incomplete"]
    sequence_number: int
    response: AgentResponse


class ItemEvent(_Strict):
    """An item starts or is done."""

    type: Literal["response.output_item.added", "response.output_item.done"]
    sequence_number: int
    output_index: int
    item: Item


class TextDeltaEvent(_Strict):
    """A piece of the text."""

    type: Literal["response.output_text.delta"]
    sequence_number: int
    item_id: str
    output_index: int
    content_index: int
    delta: str


class TextDoneEvent(_Strict):
    """The whole text."""

    type: Literal["response.output_text.done"]
    sequence_number: int
    item_id: str
    output_index: int
    content_index: int
    text: str


class FailureEvent(_Strict):
    """The end of a run that failed."""

    type: Literal["response.failed", "error"]
    sequence_number: int
    error: ErrorInfo


AgentEvent = ResponseEvent | ItemEvent | TextDeltaEvent | TextDoneEvent | FailureEvent
