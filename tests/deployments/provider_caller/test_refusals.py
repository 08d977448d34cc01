import pickle
import time
from email.utils import formatdate

import pytest

from deployments.provider_caller.refusals import refusal, retry_after
from kit.errors import UnavailableError, UpstreamRefusedError


@pytest.mark.parametrize(
    ("headers", "seconds"),
    [
        ({"Retry-After": "12"}, 12.0),
        ({"Retry-After": "1.5"}, 1.5),
        ({"Retry-After-Ms": "250", "Retry-After": "1"}, 0.25),
        ({"Retry-After": "soon"}, None),
        ({}, None),
    ],
)
def test_retry_after_is_read_in_seconds(headers: dict[str, str], seconds: float | None) -> None:
    assert retry_after(headers) == seconds


def test_retry_after_may_be_a_date() -> None:
    in_a_minute = retry_after({"Retry-After": formatdate(time.time() + 60, usegmt=True)})
    assert in_a_minute is not None
    assert 50 < in_a_minute <= 60


def test_a_refusal_keeps_its_status_between_processes() -> None:
    error = refusal("OpenAI", 422, {}, b'{"error":"bad"}')
    copy = pickle.loads(pickle.dumps(error))
    assert isinstance(copy, UpstreamRefusedError)
    assert (copy.status, copy.message, copy.should_retry) == (422, "bad", False)


def test_an_overloaded_provider_is_unavailable_for_a_while() -> None:
    error = refusal("Anthropic", 529, {"Retry-After": "3"}, b"")
    assert isinstance(error, UnavailableError)
    assert error.retry_after == 3
