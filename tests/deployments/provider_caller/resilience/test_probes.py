import asyncio
from collections.abc import Callable
from random import Random

import pytest

from deployments.provider_caller.resilience.attempts import Attempts
from deployments.provider_caller.resilience.config import ResilienceConfig
from deployments.provider_caller.resilience.targets import Target
from kit.errors import UnavailableError, UpstreamError
from tests.deployments.provider_caller.resilience.redises import LostRedis
from tests.deployments.provider_caller.resilience.scripted import A, Provider, failed, failing, key_refused, plan
from tests.deployments.provider_caller.resilience.virtual_time import in_virtual_time


def after_an_outage(answers: list[Exception | None], seconds: float) -> tuple[str, list[float]]:
    """The breaker's state so long after five failures without another call, and when probes came."""
    probed: list[float] = []

    async def work(clock: Callable[[], float]) -> str:
        async def probe(target: Target) -> None:
            assert target is A
            probed.append(clock() - 1000)
            answer = answers[min(len(probed), len(answers)) - 1]
            if isinstance(answer, TimeoutError):
                await asyncio.sleep(60)
            if answer is not None:
                raise answer

        attempts = Attempts(ResilienceConfig(), LostRedis(), probe=probe, clock=clock, random=Random(0))  # type: ignore[arg-type]
        await attempts.start()
        provider = Provider(clock, {"a": failing(failed)})
        for _ in range(2):
            with pytest.raises(UpstreamError):
                await attempts.run(plan(clock, A), provider.once)
        await asyncio.sleep(seconds)
        state = attempts.states()["a", "operator"].state
        await attempts.close()
        return state

    return in_virtual_time(work), probed


def test_a_provider_that_nobody_calls_recovers() -> None:
    state, probed = after_an_outage([None], 60)
    assert state == "closed"
    assert len(probed) == 1
    assert 25 <= probed[0] <= 37  # Open for 15 seconds, untried for 10, looked at every 8 to 12.


def test_a_probe_that_fails_keeps_it_closed_off_for_longer() -> None:
    state, probed = after_an_outage([UnavailableError("down"), OSError("no route"), TimeoutError()], 400)
    assert state != "closed"
    assert len(probed) >= 3
    assert probed[1] - probed[0] >= 40


def test_a_refusal_is_an_answer() -> None:
    assert after_an_outage([key_refused()], 60)[0] == "closed"
