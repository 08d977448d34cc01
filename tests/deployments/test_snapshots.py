"""What a process keeps of the control database."""

import asyncio
from typing import Any

import pytest

from deployments.snapshots import Snapshot


class Control:
    """A control database with the version of one domain."""

    def __init__(self) -> None:
        self.version = 1

    @property
    def control(self) -> "Control":
        return self

    async def fetchval(self, query: str, domain: str) -> int:
        return self.version


@pytest.fixture
def control() -> Control:
    return Control()


async def test_nothing_is_known_before_the_first_loading(control: Any) -> None:
    async def load(databases: Any) -> str:
        return "rows"

    snapshot = Snapshot(control, "budgets", load, empty="")
    assert not snapshot.loaded
    await snapshot.refresh()
    assert snapshot.loaded
    assert snapshot.value == "rows"


async def test_a_state_that_cannot_be_read_does_not_end_the_looking_for_changes(control: Any) -> None:
    answers = iter(["first", ValueError("a row that nobody understands"), "next"])

    async def load(databases: Any) -> str:
        answer = next(answers)
        if isinstance(answer, Exception):
            raise answer
        return answer

    snapshot = Snapshot(control, "budgets", load, empty="", every=0.001)
    await snapshot.start()
    assert snapshot.value == "first"
    control.version = 2
    async with asyncio.timeout(2):
        while snapshot.value != "next":
            await asyncio.sleep(0.001)
    await snapshot.close()
