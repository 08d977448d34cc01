import asyncio

from kit import tasks


async def test_a_task_that_swallows_a_cancellation_is_asked_again(monkeypatch) -> None:
    monkeypatch.setattr(tasks, "AGAIN_SECONDS", 0.01)
    swallowed = 0

    async def stubborn() -> None:
        nonlocal swallowed
        while True:
            try:
                await asyncio.sleep(60)
            except asyncio.CancelledError:
                if swallowed == 2:
                    raise
                swallowed += 1

    task = asyncio.create_task(stubborn())
    await asyncio.sleep(0)
    await tasks.stop(task)
    assert task.cancelled()
    assert swallowed == 2


async def test_a_task_that_has_failed_is_only_seen() -> None:
    async def failing() -> None:
        raise ValueError("broken")

    task = asyncio.create_task(failing())
    await asyncio.sleep(0)
    await tasks.stop(task)
    assert task.done()
