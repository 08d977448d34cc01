"""JSON log lines. Request and response bodies, keys and other headers never reach them."""

import logging
import sys

import orjson
import structlog

from kit.errors import PenstockError
from serve_app.http.context import RequestContext

_access = structlog.get_logger("penstock.access")
_errors = structlog.get_logger("penstock.errors")


def configure(level: str) -> None:
    """Send structlog's events to standard error as one JSON object a line."""
    structlog.configure(
        processors=[
            structlog.contextvars.merge_contextvars,
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            structlog.processors.format_exc_info,
            structlog.processors.JSONRenderer(orjson.dumps),
        ],
        wrapper_class=structlog.make_filtering_bound_logger(logging.getLevelNamesMapping()[level]),
        logger_factory=structlog.BytesLoggerFactory(sys.stderr.buffer),
        cache_logger_on_first_use=True,
    )


def access(context: RequestContext, method: str, path: str, status: int, seconds: float) -> None:
    """One line for a finished request."""
    _access.info(
        "request",
        request_id=context.request_id,
        method=method,
        path=path,
        status=499 if context.client_left else status,
        stream_failed=context.failed,
        duration_ms=round(seconds * 1000, 2),
        tenant=context.principal.tenant if context.principal else None,
    )


def failure(error: Exception, context: RequestContext) -> None:
    """An unexpected exception with its traceback; an expected one is only a line, unless `debug` is set."""
    if isinstance(error, PenstockError):
        traceback = error if context.debug else None
        _errors.info(
            "refused", request_id=context.request_id, code=error.code, reason=error.message, exc_info=traceback
        )
        return
    _errors.error("failed", request_id=context.request_id, exc_info=error)
