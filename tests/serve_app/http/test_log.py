import io
import sys
from types import SimpleNamespace
from typing import Any

import orjson
import pytest
import structlog

from deployments.protocols import Assignment, Route
from kit.errors import NotFoundError
from serve_app.http import log
from serve_app.http.context import begin


@pytest.fixture
def lines(monkeypatch: Any) -> Any:
    """What has been logged, as objects."""
    buffer = io.BytesIO()
    before = structlog.get_config()
    monkeypatch.setattr(sys, "stderr", SimpleNamespace(buffer=buffer))
    monkeypatch.setattr(log._access, "lines", None)
    monkeypatch.setattr(log, "_errors", structlog.get_logger())
    log.configure("INFO")
    yield lambda: [orjson.loads(line) for line in buffer.getvalue().splitlines()]
    structlog.configure(**before)


def test_every_request_is_one_json_object_on_one_line(lines: Any) -> None:
    context = begin({}, "my-id", 1)
    context.client_left = True
    log.access(context, "POST", "/v1/chat/completions", 200, 0.0125)
    [line] = lines()
    assert (line["request_id"], line["status"], line["duration_ms"]) == ("my-id", 499, 12.5)
    assert line["timestamp"].endswith("Z")


def test_a_line_says_what_the_router_chose_and_why(lines: Any) -> None:
    context = begin({}, None, 1)
    context.route = Route("groq", "llama", "code", "The question holds a code block.", assignment=Assignment("e", "b"))
    log.access(context, "POST", "/v1/chat/completions", 200, 0.01)
    [line] = lines()
    assert (line["operation"], line["provider"], line["model"]) == ("code", "groq", "llama")
    assert (line["reason"], line["experiment"], line["arm"]) == ("The question holds a code block.", "e", "b")


def test_an_unexpected_failure_has_its_traceback_and_a_refusal_only_with_debug(lines: Any) -> None:
    for error, debug in ((ValueError("x"), False), (NotFoundError("y"), False), (NotFoundError("z"), True)):
        log.failure(error, begin({}, None, 1, debug=debug))
    assert ["exception" in line for line in lines()] == [True, False, True]
    assert [line.get("code") for line in lines()] == [None, "NOT_FOUND", "NOT_FOUND"]


def test_a_level_above_info_has_no_line_for_a_request(lines: Any) -> None:
    log.configure("WARNING")
    log.access(begin({}, None, 1), "GET", "/health", 200, 0.001)
    assert lines() == []
