import asyncio
import time

import openai
import pytest

from load.simulator.faults import Fault, FaultChooser
from load.simulator.process import simulator
from tests.load.simulator.conftest import HELLO, eventually, named


@pytest.fixture
def planned(sim):
    """A simulator whose plans are taken back."""
    yield sim
    sim.control(reset="all")


async def outcomes(client, count: int) -> list[int]:
    found = []
    for _ in range(count):
        try:
            await client.chat.completions.create(model="gpt-4o", messages=HELLO)
            found.append(200)
        except openai.APIStatusError as error:
            found.append(error.status_code)
    return found


async def test_a_queue_of_faults_meets_the_next_calls_of_its_provider(planned, openai_client, gemini_client):
    planned.control(faults={"openai": {"queue": ["429", None, "500"]}})
    assert await outcomes(gemini_client, 1) == [200]
    assert await outcomes(openai_client, 4) == [429, 200, 500, 200]


async def test_a_share_of_all_calls_fails_where_the_command_line_says_so():
    with simulator(seed=3, validate=False, faults={"500": 0.5}) as one:
        async with openai.AsyncOpenAI(base_url=one.base_url("openai"), api_key="k", max_retries=0) as client:
            assert set(await outcomes(client, 20)) == {200, 500}


def test_faults_are_drawn_as_often_as_stated_and_repeat_with_the_seed():
    drawn = []
    for _ in range(2):
        chooser = FaultChooser(seed=3)
        chooser.plan("*", None, {"500": 0.3, "stall_mid:2": 0.1})
        drawn.append([chooser.drawn("openai") for _ in range(5000)])
    assert drawn[0] == drawn[1]
    assert drawn[0].count(Fault("500")) == pytest.approx(1500, rel=0.1)
    assert drawn[0].count(Fault("stall_mid", "2")) == pytest.approx(500, rel=0.2)


async def test_latency_and_length_can_be_changed_while_it_runs(planned, openai_client):
    planned.control(latency={"openai": {"first_token_p50": 0.05}}, tokens=3)
    began = time.perf_counter()
    answer = await openai_client.chat.completions.create(model="gpt-4o", messages=HELLO)
    assert time.perf_counter() - began >= 0.045
    assert answer.usage.completion_tokens == 3
    planned.control(tokens=20)


async def test_a_providers_own_port_can_be_closed_and_opened(planned, openai_client, gemini_client):
    planned.control(close=["openai"])
    async with openai.AsyncOpenAI(base_url=planned.base_url("openai"), api_key="k", max_retries=0) as fresh:
        with pytest.raises(openai.APIConnectionError):
            await fresh.chat.completions.create(model="gpt-4o", messages=HELLO)
        assert await outcomes(gemini_client, 1) == [200]
        planned.control(open=["openai"])
        assert await outcomes(fresh, 1) == [200]


async def test_a_reset_forgets_counts_and_bills(planned, openai_client):
    await outcomes(openai_client, 1)
    planned.control(reset="counts")
    assert planned.bills() == []
    assert planned.counts()["requests"] == 0


async def test_the_last_requests_can_be_looked_at_without_their_keys(planned, openai_client, request_id):
    await openai_client.chat.completions.create(model="gpt-4o", messages=HELLO, extra_headers=named(request_id))
    last = planned.requests()[-1]
    assert last["target"] == "/openai/v1/chat/completions"
    assert last["headers"]["authorization"] == "[redacted]"
    assert last["headers"]["x-client-request-id"] == request_id
    assert "hello there" in last["body"]


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"fault": {}}, "fault"),
        ({"faults": {"openai": {"queue": ["nonsense"]}}}, "nonsense"),
        ({"faults": {"nobody": {}}}, "nobody"),
        ({"faults": {"openai": {"probabilities": {"500": 2}}}}, "at most 1"),
        ({"latency": {"openai": {"first_token_p50": -1}}}, "first_token"),
        ({"profile": "night"}, "night"),
        ({"close": ["nobody"]}, "nobody"),
    ],
)
def test_what_control_cannot_do_is_said(sim, settings, said):
    with pytest.raises(ValueError, match=said):
        sim.control(**settings)


async def test_a_day_of_latencies_can_be_replayed_faster():
    with simulator(profile="day", time_scale=0.001, validate=False) as day:
        async with openai.AsyncOpenAI(base_url=day.base_url("openai"), api_key="k") as client:
            answers = await asyncio.gather(
                *(client.chat.completions.create(model="gpt-4o", messages=HELLO) for _ in range(20))
            )
        assert len(answers) == 20
        assert eventually(lambda: day.counts()["providers"]["openai"]["gpt-4o"]["completed"] == 20)
