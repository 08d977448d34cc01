"""What a provider's error answer means for the caller of Penstock.

401, 403 and redirects are the operator's or the tenant's to cure, 429 carries when to come back, other 4xx are the
caller's own input and keep the provider's status and words, 5xx are the provider's fault. The same errors may come
with status 200, as a body or as an event of a stream; there they are told by their type.
"""

import email.utils
import time
from collections.abc import Mapping
from typing import Any

import orjson

from deployments.provider_caller.providers.base import Provider
from kit.errors import PenstockError, RateLimitError, UnavailableError, UpstreamError, UpstreamRefusedError

MAX_MESSAGE = 2000
_OVERLOADED = frozenset({503, 529})
_SPENT = frozenset(
    {"insufficient_quota", "billing_hard_limit_reached", "credit_balance_exhausted", "enforced_spend_limit_reached"}
)
"""Why an account is spent: `code` or `type` at OpenAI, `details.error_code` at Anthropic."""

_STATUS_OF_TYPE = {
    "invalid_request_error": 400,
    "invalid_request": 400,
    "invalid_prompt": 400,
    "authentication_error": 401,
    "permission_error": 403,
    "not_found_error": 404,
    "request_too_large": 413,
    "rate_limit_error": 429,
    "rate_limit_exceeded": 429,
    "overloaded_error": 529,
}
"""The status that goes with an error's `type` or `code`, where an error comes without one."""


class ContextWindowError(UpstreamRefusedError):
    """The prompt does not fit into the model's context window; a model with a longer one may take it."""

    code = "context_length_exceeded"

    def __init__(self, message: str, *, status: int = 400) -> None:
        super().__init__(message, status=status)

    def __reduce__(self) -> tuple[object, ...]:
        return (ContextWindowError, (self.message,))


class KeyRefusedError(UpstreamError):
    """The provider refuses the key. provider_status: what it answered with. Its words are left out: they may repeat
    part of the key."""

    def __init__(self, message: str, *, provider_status: int) -> None:
        super().__init__(message, should_retry=False)
        self.provider_status = provider_status

    def __reduce__(self) -> tuple[object, ...]:
        return (_rebuild_key_refused, (self.message, self.provider_status))


def _rebuild_key_refused(message: str, provider_status: int) -> KeyRefusedError:
    return KeyRefusedError(message, provider_status=provider_status)


def refusal(
    provider: Provider, status: int, headers: Mapping[str, str], body: bytes, *, tenant_owned: bool = False
) -> PenstockError:
    """The error for an answer with a status of 300 or more."""
    stated = _stated_error(body)
    if 300 <= status < 400:
        return UpstreamError(f"{provider.name} redirected the call (status {status}); redirects are not followed.")
    return _meaning(provider, status, stated, retry_after(headers), tenant_owned=tenant_owned)


def stated_failure(provider: Provider, stated: Any) -> PenstockError:
    """The error for one that came with status 200. `stated`: the error as the provider wrote it."""
    error = stated if isinstance(stated, dict) else {"message": stated}
    named = [_STATUS_OF_TYPE[name] for name in (error.get("type"), error.get("code")) if name in _STATUS_OF_TYPE]
    code = error.get("code")
    status = code if isinstance(code, int) and 400 <= code < 600 else named[0] if named else 0
    if status or provider.too_long(400, error):
        return _meaning(provider, status or 400, error, None, tenant_owned=False)
    return UpstreamError(f"{provider.name} failed: {error_message(error) or 'it gave no reason'}.")


def error_message(stated: Any) -> str | None:
    """The words of an error as providers write it: an object with `message`, or a string."""
    if isinstance(stated, dict):
        stated = stated.get("message")
    return stated[:MAX_MESSAGE] if isinstance(stated, str) and stated else None


def retry_after(headers: Mapping[str, str]) -> float | None:
    """Seconds from now, of `Retry-After-Ms` or of `Retry-After` in either of its forms; None when not stated."""
    milliseconds, value = headers.get("Retry-After-Ms"), headers.get("Retry-After")
    for text, unit in ((milliseconds, 0.001), (value, 1.0)):
        if text is not None and text.isascii() and text.replace(".", "", 1).isdecimal():
            return float(text) * unit
    try:
        return max(0.0, email.utils.parsedate_to_datetime(value or "").timestamp() - time.time())
    except (ValueError, OverflowError):
        return None


def _meaning(provider: Provider, status: int, stated: Any, wait: float | None, *, tenant_owned: bool) -> PenstockError:
    error = stated if isinstance(stated, dict) else {}
    if provider.refuses_key(status, error):
        whose = "the tenant's" if tenant_owned else "this platform's"
        return KeyRefusedError(f"{provider.name} refused {whose} key (status {status}).", provider_status=status)
    message = error_message(stated) or f"{provider.name} answered with status {status}."
    if provider.too_long(status, error):
        return ContextWindowError(message)
    if status == 429:
        spent = not _SPENT.isdisjoint(_names(error))
        return RateLimitError(f"{provider.name}: {message}", retry_after=wait, should_retry=False if spent else None)
    if 400 <= status < 500:
        return UpstreamRefusedError(message, status=status)
    if status in _OVERLOADED:
        return UnavailableError(f"{provider.name} is overloaded: {message}", retry_after=wait)
    return UpstreamError(f"{provider.name} failed with status {status}: {message}")


def _names(error: Mapping[str, Any]) -> set[str]:
    """What an error is called, in the places where providers say so."""
    details = error.get("details")
    code = details.get("error_code") if isinstance(details, dict) else None
    return {name for name in (error.get("code"), error.get("type"), code) if isinstance(name, str)}


def _stated_error(body: bytes) -> Any:
    try:
        content = orjson.loads(body)
    except orjson.JSONDecodeError:
        return None
    if isinstance(content, list) and content:  # Google's compatible endpoint wraps its errors in a list.
        content = content[0]
    return content.get("error") if isinstance(content, dict) else None
