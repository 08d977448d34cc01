"""Errors in the words of each provider."""

from dataclasses import dataclass
from typing import Any

import orjson

from load.simulator.generation import SERIAL


@dataclass(frozen=True, slots=True)
class ProviderError:
    """kind: one of the keys below. param: the field that is wrong. code: as the provider names it, None for the usual
    one of the kind."""

    status: int
    kind: str
    message: str
    param: str | None = None
    retry_after: str | None = None


# kind: (type, code) of OpenAI, type of Anthropic, (type, code) of Groq, status of Google, type of Perplexity
_KINDS: dict[str, tuple[tuple[str, str | None], str, tuple[str, str | None], str, str]] = {
    "invalid": (
        ("invalid_request_error", None), "invalid_request_error", ("invalid_request_error", None),
        "INVALID_ARGUMENT", "invalid_request",
    ),
    "context_length": (
        ("invalid_request_error", "context_length_exceeded"), "invalid_request_error",
        ("invalid_request_error", "context_length_exceeded"), "INVALID_ARGUMENT", "invalid_request",
    ),
    "tool_schema": (
        ("invalid_request_error", "invalid_function_parameters"), "invalid_request_error",
        ("invalid_request_error", "invalid_function_parameters"), "INVALID_ARGUMENT", "invalid_parameter",
    ),
    "auth": (
        ("invalid_request_error", "invalid_api_key"), "authentication_error",
        ("invalid_request_error", "invalid_api_key"), "INVALID_ARGUMENT", "forbidden",
    ),
    "not_found": (
        ("invalid_request_error", None), "not_found_error", ("invalid_request_error", "unknown_url"),
        "NOT_FOUND", "not_found",
    ),
    "unknown_model": (
        ("invalid_request_error", "model_not_found"), "not_found_error",
        ("invalid_request_error", "model_not_found"), "NOT_FOUND", "invalid_model",
    ),
    "too_large": (
        ("invalid_request_error", None), "request_too_large", ("invalid_request_error", None),
        "INVALID_ARGUMENT", "payload_too_large",
    ),
    "rate_limit": (
        ("rate_limit_error", "rate_limit_exceeded"), "rate_limit_error", ("requests", "rate_limit_exceeded"),
        "RESOURCE_EXHAUSTED", "request_rate_limit_exceeded",
    ),
    "quota": (
        ("insufficient_quota", "credit_balance_exhausted"), "rate_limit_error",
        ("insufficient_quota", "insufficient_quota"), "RESOURCE_EXHAUSTED", "insufficient_quota",
    ),
    "server": (
        ("server_error", None), "api_error", ("internal_server_error", None), "INTERNAL", "internal_error",
    ),
    "overloaded": (
        ("server_error", "server_is_overloaded"), "overloaded_error", ("service_unavailable", "over_capacity"),
        "UNAVAILABLE", "bad_gateway",
    ),
}  # fmt: skip


def error_content(style: str, error: ProviderError) -> dict[str, Any]:
    """The error as the provider writes it. style: `errors` of the provider."""
    openai, anthropic, groq, google, perplexity = _KINDS[error.kind]
    if style == "anthropic":
        content: dict[str, Any] = {"type": anthropic, "message": error.message}
        if error.kind == "quota":
            content["details"] = {"error_code": "enforced_spend_limit_reached"}
        return {"type": "error", "error": content, "request_id": f"req_{SERIAL}"}
    if style == "gemini":
        content = {"code": error.status, "message": error.message, "status": google}
        if error.kind == "auth":
            content["details"] = [{"@type": "type.googleapis.com/google.rpc.ErrorInfo", "reason": "API_KEY_INVALID"}]
        return {"error": content}
    if style == "perplexity":
        content = {"message": error.message, "type": perplexity, "code": error.status}
        return {"error": content | ({"param": error.param} if error.param else {})}
    kind, code = groq if style == "groq" else openai
    return {"error": {"message": error.message, "type": kind, "param": error.param, "code": code}}


def error_body(style: str, error: ProviderError) -> bytes:
    """The whole answer: Google's compatible endpoint wraps it in a list."""
    content = error_content(style, error)
    return orjson.dumps([content] if style == "gemini" else content)
