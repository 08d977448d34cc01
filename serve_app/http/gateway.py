"""The one middleware: request id, authentication, body limit, errors, counts and the log line of every request."""

import time
from collections.abc import Awaitable, Callable

from starlette.requests import ClientDisconnect
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from deployments.measure import LATENCY, REQUESTS
from kit.errors import AuthenticationError
from kit.telemetry import METRICS
from serve_app.auth.schemas import Principal
from serve_app.http import bodies, context, documentation, errors, log

OPEN_PATHS = frozenset(
    {
        "/health",
        "/health/live",
        "/health/ready",
        "/health/detailed",
        "/api/health",
        "/api/v1/ai-tutor/health",
        documentation.PAGE,
        "/openapi.json",
    }
)
"""Paths that need no key."""

Authenticate = Callable[[str], Awaitable[Principal]]


class Gateway:
    """Wraps the router. An exception before the first byte becomes an error response; after it, the connection dies.

    metrics_allow: addresses that read /metrics without a key.
    """

    def __init__(
        self,
        app: ASGIApp,
        *,
        authenticate: Authenticate,
        request_timeout: float,
        max_body_bytes: int,
        metrics_allow: frozenset[str],
        debug: bool,
    ) -> None:
        self._app = app
        self._authenticate = authenticate
        self._request_timeout = request_timeout
        self._max_body_bytes = max_body_bytes
        self._metrics_allow = metrics_allow
        self._debug = debug

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handle one request from its first byte to its log line."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        method, path = scope["method"], scope["path"]
        if method == "HEAD":
            scope = {**scope, "method": "GET"}  # The server sends no body: it keeps the scope that says HEAD.
        credentials = _Credentials(scope)
        request = context.begin(scope, credentials.request_id, self._request_timeout, debug=self._debug)
        family = errors.family_of(scope)
        request_id = request.request_id.encode("latin-1")
        status = 0

        async def identified(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                message["headers"] = [*message["headers"], (b"x-request-id", request_id)]
                if family == "anthropic":
                    message["headers"].append((b"request-id", request_id))
            await send(message)

        try:
            if not self._is_open(scope):
                request.principal = await self._authenticate(credentials.key())
            bodies.refuse_declared_size(scope, self._max_body_bytes)
            await self._app(scope, bodies.bounded(receive, self._max_body_bytes), identified)
        except ClientDisconnect:
            request.client_left = True
        except Exception as error:
            log.failure(error, request)
            if status:
                raise
            response = errors.render(errors.as_penstock(error), request.request_id, family)
            await response(scope, receive, identified)
        finally:
            seconds = time.monotonic() - request.started
            outcome = _outcome(request, status)
            METRICS.count(REQUESTS, stage="ingress", operation=request.operation, outcome=outcome)
            METRICS.observe(LATENCY, seconds, stage="ingress", operation=request.operation)
            log.access(request, method, path, status, seconds)

    def _is_open(self, scope: Scope) -> bool:
        path = scope["path"]
        if path in OPEN_PATHS or path.startswith(f"{documentation.ASSETS}/"):
            return True
        client = scope.get("client")
        return path == "/metrics" and client is not None and client[0] in self._metrics_allow


class _Credentials:
    """The two headers that the gateway acts on, read in one pass."""

    def __init__(self, scope: Scope) -> None:
        self.request_id: str | None = None
        self._bearer = ""
        self._api_key = ""
        for name, value in scope["headers"]:
            if name == b"authorization":
                self._bearer = value.decode("latin-1")
            elif name == b"x-api-key":
                self._api_key = value.decode("latin-1")
            elif name == b"x-request-id":
                self.request_id = value.decode("latin-1")

    def key(self) -> str:
        """The API key of the request. Raises AuthenticationError."""
        scheme, _, token = self._bearer.partition(" ")
        if scheme.lower() == "bearer" and token.strip():
            return token.strip()
        if self._api_key:
            return self._api_key.strip()
        raise AuthenticationError(
            "This needs an API key: send `Authorization: Bearer KEY` or `x-api-key: KEY`. `penstock key` prints one."
        )


def _outcome(request: context.RequestContext, status: int) -> str:
    if request.client_left or not status:
        return "cancelled"
    if request.failed or status >= 500:
        return "error"
    return "ok" if status < 400 else "refused"
