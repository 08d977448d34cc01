"""What a provider's error answer means for the caller of Penstock.

401, 403 and redirects are the operator's to cure, 429 carries when to come back, other 4xx are the caller's own input
and keep the provider's status and words, 5xx are the provider's fault.
"""

import email.utils
import time
from collections.abc import Mapping
from typing import Any

import orjson

from kit.errors import PenstockError, RateLimitError, UnavailableError, UpstreamError, UpstreamRefusedError

MAX_MESSAGE = 2000
_OVERLOADED = frozenset({503, 529})
_SPENT = frozenset({"insufficient_quota", "billing_hard_limit_reached"})


def refusal(provider: str, status: int, headers: Mapping[str, str], body: bytes) -> PenstockError:
    """The error for an answer with a status of 300 or more. `provider` is its name for people."""
    if status in (401, 403):
        # The provider's own words may repeat part of the key.
        return UpstreamError(f"{provider} refused this platform's key (status {status}).", should_retry=False)
    stated = _stated_error(body)
    message = error_message(stated) or f"{provider} answered with status {status}."
    if status == 429:
        spent = isinstance(stated, dict) and stated.get("code") in _SPENT
        return RateLimitError(
            f"{provider}: {message}", retry_after=retry_after(headers), should_retry=False if spent else None
        )
    if 400 <= status < 500:
        return UpstreamRefusedError(message, status=status)
    if status in _OVERLOADED:
        return UnavailableError(f"{provider} is overloaded: {message}", retry_after=retry_after(headers))
    if status < 400:
        return UpstreamError(f"{provider} redirected the call (status {status}); redirects are not followed.")
    return UpstreamError(f"{provider} failed with status {status}: {message}")


def error_message(stated: Any) -> str | None:
    """The words of an error as providers write it: an object with `message`, or a string."""
    if isinstance(stated, dict):
        stated = stated.get("message")
    return stated[:MAX_MESSAGE] if isinstance(stated, str) and stated else None


def retry_after(headers: Mapping[str, str]) -> float | None:
    """Seconds from now, of `Retry-After-Ms` or of `Retry-After` in either of its forms; None when not stated."""
    milliseconds, value = headers.get("Retry-After-Ms"), headers.get("Retry-After")
    for text, unit in ((milliseconds, 0.001), (value, 1.0)):
        if text is not None and text.replace(".", "", 1).isdecimal():
            return float(text) * unit
    try:
        return max(0.0, email.utils.parsedate_to_datetime(value or "").timestamp() - time.time())
    except ValueError:
        return None


def _stated_error(body: bytes) -> Any:
    try:
        content = orjson.loads(body)
    except orjson.JSONDecodeError:
        return None
    if isinstance(content, list) and content:  # Google's compatible endpoint wraps its errors in a list.
        content = content[0]
    return content.get("error") if isinstance(content, dict) else None
