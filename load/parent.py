"""Ends a helper process when the process that started it is gone, however that one died."""

import asyncio
import os

POLL_SECONDS = 0.5


async def parent_gone(parent: int) -> None:
    """Return once this process is no longer a child of `parent`, the id that `os.getppid()` gave at the start.

    Polling instead of PR_SET_PDEATHSIG, because that signal comes when the *thread* that started us ends.
    """
    while os.getppid() == parent:
        await asyncio.sleep(POLL_SECONDS)
