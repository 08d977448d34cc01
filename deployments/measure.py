"""Counts and times what a stage does, so that one can see which stages a question used."""

import functools
import inspect
import time
from collections.abc import Callable
from typing import Any, TypeVar, cast

from kit.errors import PenstockError
from kit.telemetry import METRICS

F = TypeVar("F", bound=Callable[..., Any])

REQUESTS = "penstock_stage_requests_total"
LATENCY = "penstock_stage_latency_seconds"


def measured(stage: str) -> Callable[[F], F]:
    """Decorate a stage's method: one count in REQUESTS (stage, operation, outcome) and one LATENCY for each call.

    Works for coroutine functions and asynchronous generators; a generator counts when it ends, however it ends.
    """

    def decorate(method: F) -> F:
        operation = method.__name__

        def done(started: float, outcome: str) -> None:
            METRICS.count(REQUESTS, stage=stage, operation=operation, outcome=outcome)
            METRICS.observe(LATENCY, time.perf_counter() - started, stage=stage, operation=operation)

        if inspect.isasyncgenfunction(method):

            @functools.wraps(method)
            async def stream(*args: Any, **kwargs: Any) -> Any:
                started, outcome = time.perf_counter(), "cancelled"
                items = method(*args, **kwargs)
                try:
                    async for item in items:
                        yield item
                    outcome = "ok"
                except PenstockError as error:
                    outcome = error.code.lower()
                    raise
                except Exception:
                    outcome = "error"
                    raise
                finally:
                    await items.aclose()
                    done(started, outcome)

            return cast(F, stream)

        @functools.wraps(method)
        async def call(*args: Any, **kwargs: Any) -> Any:
            started, outcome = time.perf_counter(), "cancelled"
            try:
                result = await method(*args, **kwargs)
                outcome = "ok"
                return result
            except PenstockError as error:
                outcome = error.code.lower()
                raise
            except Exception:
                outcome = "error"
                raise
            finally:
                done(started, outcome)

        return cast(F, call)

    return decorate
