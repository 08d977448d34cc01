import pickle
import time
from email.utils import formatdate
from typing import Any

import orjson
import pytest

from deployments.provider_caller.providers.registry import load_registry
from deployments.provider_caller.refusals import (
    ContextWindowError,
    KeyRefusedError,
    refusal,
    retry_after,
    stated_failure,
)
from kit.errors import PenstockError, RateLimitError, UnavailableError, UpstreamError, UpstreamRefusedError

PROVIDERS = load_registry()
OPENAI = PROVIDERS["openai"]


@pytest.mark.parametrize(
    ("headers", "seconds"),
    [
        ({"Retry-After": "12"}, 12.0),
        ({"Retry-After": "1.5"}, 1.5),
        ({"Retry-After-Ms": "250", "Retry-After": "1"}, 0.25),
        ({"Retry-After": "soon"}, None),
        ({"Retry-After": "²"}, None),
        ({}, None),
    ],
)
def test_retry_after_is_read_in_seconds(headers: dict[str, str], seconds: float | None) -> None:
    assert retry_after(headers) == seconds


def test_retry_after_may_be_a_date() -> None:
    in_a_minute = retry_after({"Retry-After": formatdate(time.time() + 60, usegmt=True)})
    assert in_a_minute is not None
    assert 50 < in_a_minute <= 60


def test_a_refusal_keeps_its_fields_between_processes() -> None:
    error = refusal(OPENAI, 422, {}, b'{"error":"bad"}')
    copy = pickle.loads(pickle.dumps(error))
    assert isinstance(copy, UpstreamRefusedError)
    assert (copy.status, copy.message, copy.should_retry) == (422, "bad", False)
    key = pickle.loads(pickle.dumps(KeyRefusedError("no", provider_status=403)))
    assert (type(key), key.message, key.provider_status, key.should_retry) == (KeyRefusedError, "no", 403, False)
    long = pickle.loads(pickle.dumps(ContextWindowError("long")))
    assert (type(long), long.message, long.status, long.code) == (
        ContextWindowError,
        "long",
        400,
        "context_length_exceeded",
    )


@pytest.mark.parametrize(
    ("provider", "stated"),
    [
        ("openai", {"type": "insufficient_quota", "code": "credit_balance_exhausted"}),
        ("anthropic", {"type": "rate_limit_error", "details": {"error_code": "enforced_spend_limit_reached"}}),
    ],
)
def test_a_spent_account_is_told_from_a_limit_on_the_rate(provider: str, stated: dict[str, Any]) -> None:
    error = refusal(PROVIDERS[provider], 429, {}, orjson.dumps({"error": {"message": "no", **stated}}))
    assert isinstance(error, RateLimitError)
    assert error.should_retry is False
    assert refusal(PROVIDERS[provider], 429, {}, b'{"error":{"details":null}}').should_retry is None


def test_an_overloaded_provider_is_unavailable_for_a_while() -> None:
    error = refusal(PROVIDERS["anthropic"], 529, {"Retry-After": "3"}, b"")
    assert isinstance(error, UnavailableError)
    assert error.retry_after == 3


@pytest.mark.parametrize(
    ("provider", "status", "error"),
    [
        ("openai", 400, {"code": "context_length_exceeded", "message": "Your input exceeds the context window."}),
        ("compatible", 400, {"message": "This model's maximum context length is 4096 tokens. However, you ..."}),
        (
            "anthropic",
            400,
            {"type": "invalid_request_error", "message": "prompt is too long: 1000001 tokens > 1000000"},
        ),
        ("anthropic", 400, {"message": "input length and `max_tokens` exceed context limit: 9 + 9 > 10"}),
        ("google", 400, {"message": "The input token count (2845475) exceeds the maximum number of tokens allowed"}),
        ("groq", 400, {"message": "Please reduce the length of the messages or completion."}),
        ("groq", 413, {"code": "rate_limit_exceeded", "message": "Request too large for model on tokens per minute"}),
    ],
)
def test_a_prompt_that_is_too_long_is_told_from_other_bad_input(provider: str, status: int, error: object) -> None:
    body = {"error": error}
    found = refusal(PROVIDERS[provider], status, {}, orjson.dumps([body] if provider == "google" else body))
    assert isinstance(found, ContextWindowError)
    assert (found.status, found.code) == (400, "context_length_exceeded")


def test_googles_wrong_key_is_a_400() -> None:
    error = {"message": "API key not valid. Please pass a valid API key.", "status": "INVALID_ARGUMENT"}
    assert isinstance(refusal(PROVIDERS["google"], 400, {}, orjson.dumps([{"error": error}])), KeyRefusedError)
    assert isinstance(refusal(OPENAI, 400, {}, orjson.dumps({"error": error})), UpstreamRefusedError)


@pytest.mark.parametrize(
    ("stated", "kind"),
    [
        ({"type": "overloaded_error", "message": "x"}, UnavailableError),
        ({"type": "rate_limit_error", "message": "x"}, RateLimitError),
        ({"type": "invalid_request_error", "message": "x"}, UpstreamRefusedError),
        ({"type": "invalid_request_error", "message": "prompt is too long"}, ContextWindowError),
        ({"type": "authentication_error", "message": "sk-1"}, KeyRefusedError),
        ({"type": "internal_error", "code": 503, "message": "x"}, UnavailableError),
        ({"message": "x"}, UpstreamError),
        ("x", UpstreamError),
        (None, UpstreamError),
    ],
)
def test_an_error_without_a_status_is_told_by_its_type(stated: object, kind: type[PenstockError]) -> None:
    error = stated_failure(OPENAI, stated)
    assert type(error) is kind
    assert "sk-1" not in error.message
