import asyncio
import contextvars

from serve_app.http.background import Background

REQUEST: contextvars.ContextVar[str] = contextvars.ContextVar("REQUEST", default="none")


async def test_work_runs_in_an_empty_context() -> None:
    seen = []

    async def work() -> None:
        seen.append(REQUEST.get())

    REQUEST.set("mine")
    background = Background()
    background.start(work())
    await background.drain()
    assert seen == ["none"]


async def test_draining_waits_and_then_cancels() -> None:
    ended = []

    async def work(seconds: float) -> None:
        try:
            await asyncio.sleep(seconds)
            ended.append("done")
        except asyncio.CancelledError:
            ended.append("cancelled")
            raise

    background = Background()
    background.start(work(0.01))
    background.start(work(60))
    await background.drain(timeout=0.1)
    await asyncio.sleep(0)
    assert ended == ["done", "cancelled"]


async def test_a_failure_harms_nobody_and_too_much_work_is_dropped() -> None:
    async def fail() -> None:
        raise ValueError

    background = Background(max_tasks=1)
    background.start(fail())
    background.start(fail())
    await background.drain()
