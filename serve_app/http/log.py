"""JSON log lines. Request and response bodies, keys and other headers never reach them."""

import logging
import sys
from datetime import UTC, datetime
from typing import BinaryIO

import orjson
import structlog

from deployments.protocols import Route
from kit.errors import PenstockError
from serve_app.http.context import RequestContext

_errors = structlog.get_logger("penstock.errors")

_LINE = orjson.OPT_APPEND_NEWLINE | orjson.OPT_UTC_Z


def configure(level: str) -> None:
    """Send events to standard error as one JSON object a line."""
    least = logging.getLevelNamesMapping()[level]
    structlog.configure(
        processors=[
            structlog.contextvars.merge_contextvars,
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            structlog.processors.format_exc_info,
            structlog.processors.JSONRenderer(orjson.dumps),
        ],
        wrapper_class=structlog.make_filtering_bound_logger(least),
        logger_factory=structlog.BytesLoggerFactory(sys.stderr.buffer),
        cache_logger_on_first_use=True,
    )
    _access.lines = sys.stderr.buffer if least <= logging.INFO else None


class _Access:
    """Where access lines go, None for nowhere. Every request writes one, so they take no way through structlog."""

    lines: BinaryIO | None = None


_access = _Access()


def access(context: RequestContext, method: str, path: str, status: int, seconds: float) -> None:
    """One line for a finished request."""
    if _access.lines is None:
        return
    line = {
        "request_id": context.request_id,
        "method": method,
        "path": path,
        "status": 499 if context.client_left else status,
        "stream_failed": context.failed,
        "duration_ms": round(seconds * 1000, 2),
        "tenant": context.principal.tenant if context.principal else None,
        **(_decision(context.route) if context.route else {}),
        "event": "request",
        "level": "info",
        "timestamp": datetime.now(UTC),
    }
    _access.lines.write(orjson.dumps(line, option=_LINE))
    _access.lines.flush()


def _decision(route: Route) -> dict[str, object]:
    """What the router chose and why."""
    assignment = route.assignment
    return {
        "operation": route.operation,
        "provider": route.provider,
        "model": route.model,
        "reason": route.reason,
        **({"experiment": assignment.experiment, "arm": assignment.arm} if assignment else {}),
    }


def failure(error: Exception, context: RequestContext) -> None:
    """An unexpected exception with its traceback; an expected one is only a line, unless `debug` is set."""
    if isinstance(error, PenstockError):
        traceback = error if context.debug else None
        _errors.info(
            "refused", request_id=context.request_id, code=error.code, reason=error.message, exc_info=traceback
        )
        return
    _errors.error("failed", request_id=context.request_id, exc_info=error)
