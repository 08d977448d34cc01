"""What the HTTP layer knows about one request, from its first byte to its log line."""

import re
import time
from dataclasses import dataclass, field
from typing import cast

from starlette.requests import Request
from starlette.types import Scope

from deployments.protocols import Route
from kit.errors import AuthenticationError, DeadlineError
from kit.ids import uuid7
from serve_app.auth.schemas import Principal

_KEY = "penstock"
_REQUEST_ID = re.compile(r"[A-Za-z0-9._:\-]{1,128}")


@dataclass(slots=True)
class RequestContext:
    """request_id: the client's when it is well formed. deadline: on the clock of `time.monotonic`."""

    request_id: str
    deadline: float
    started: float = field(default_factory=time.monotonic)
    principal: Principal | None = None
    operation: str = "unmatched"
    failed: bool = False
    """A stream that had begun ended with an error event."""
    client_left: bool = False
    route: Route | None = None
    """The decision of the router, where one was made."""
    debug: bool = False
    """Whether the log has the traceback of every refused request, and not only of the unexpected ones."""

    @property
    def caller(self) -> Principal:
        """The authenticated caller. Raises AuthenticationError where there is none."""
        if self.principal is None:
            raise AuthenticationError("This needs an API key.")
        return self.principal

    def remaining(self) -> float:
        """Seconds until the deadline. Raises DeadlineError when there are none."""
        left = self.deadline - time.monotonic()
        if left <= 0:
            raise DeadlineError("The time for this request is over.")
        return left


def begin(scope: Scope, offered_id: str | None, timeout: float, *, debug: bool = False) -> RequestContext:
    """Start a request's context and keep it in the ASGI scope."""
    valid = offered_id is not None and _REQUEST_ID.fullmatch(offered_id)
    context = RequestContext(
        request_id=cast(str, offered_id) if valid else f"req_{uuid7().hex}",
        deadline=time.monotonic() + timeout,
        debug=debug,
    )
    scope[_KEY] = context
    return context


def of(scope: Scope) -> RequestContext:
    """The context of a request that the gateway has begun."""
    return cast(RequestContext, scope[_KEY])


def context_of(request: Request) -> RequestContext:
    """The context of a request that the gateway has begun."""
    return of(request.scope)
