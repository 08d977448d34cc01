"""The last event of a stream that cannot end well, in each dialect. Nothing may follow it."""

import orjson

from deployments.protocols import Dialect

_MESSAGES_TYPES = {
    "UNAVAILABLE": "overloaded_error",
    "RATE_LIMITED": "rate_limit_error",
    "DEADLINE_EXCEEDED": "timeout_error",
    "UPSTREAM_REFUSED": "invalid_request_error",
}


def error_event(dialect: Dialect, message: str, code: str, *, sequence_number: int = 0) -> bytes:
    """code: of the platform's error (kit.errors). sequence_number: of the event, which only responses count."""
    if dialect == "anthropic_messages":
        error = {"type": _MESSAGES_TYPES.get(code, "api_error"), "message": message}
        return b"event: error\ndata: " + orjson.dumps({"type": "error", "error": error}) + b"\n\n"
    if dialect == "openai_responses":
        stated = {"type": "upstream_error", "code": code.lower(), "message": message, "param": None}
        # Stated twice: OpenAI documents the flat fields, and its Python client raises by the nested ones only.
        event = {**stated, "type": "error", "error": stated}
        return b"event: error\ndata: " + orjson.dumps({**event, "sequence_number": sequence_number}) + b"\n\n"
    stated = {"message": message, "type": "upstream_error", "param": None, "code": code.lower()}
    return b"data: " + orjson.dumps({"error": stated}) + b"\n\n"
