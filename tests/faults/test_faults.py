"""Every fault of a provider, on every surface, whole and streamed, with a fallback and without: what the client gets,
what the ledger holds, and the table that says so (docs/api/faults.md)."""

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from load.loopback import free_port
from load.simulator.faults import NAMES
from load.simulator.process import SimulatorProcess
from tests.faults.cases import ANSWER_BYTES, FALLBACK, SURFACES, Case, Result
from tests.faults.clients import Clients, Seen
from tests.faults.conftest import Product
from tests.faults.table import FAULTS, render, table_of
from tests.simulated import HASTY, KEY, PATIENT, STALLS

PAGE = Path(__file__).resolve().parents[2] / "docs" / "api" / "faults.md"
WRITE = "WRITE_FAULT_TABLE"
"""Set this environment variable to write the page anew."""
BAD_KEY = "bad-key-0123456789"
FAULTY = ("openai", "anthropic")
VALUES = {"429_retry_after": "429_retry_after:0.2"}
"""A wait that the retries are worth."""

HARMLESS = {"duplicate_usage"}
CALLERS = {"bad_tool_schema"}
"""Another model would answer a question that was not asked."""
IN_THE_MIDDLE = {"stall_mid", "cut_mid_event", "cut_clean", "garbled", "error_mid", "missing_done"}
"""Of a stream: after its first token."""
STATUS = {
    "429": 429, "429_retry_after": 429, "429_quota": 429, "503": 503, "529": 503, "closed port": 503,
    "context_length": 400, "bad_tool_schema": 400, "unknown_model": 404,
}  # fmt: skip
"""Where no answer has begun; any other fault is a 502."""

Outcomes = dict[Case, tuple[Result, Seen]]


def cases_of(fault: str) -> list[Case]:
    return [
        Case(fault, surface, stream, native, fallback)
        for surface in SURFACES
        for stream in (False, True)
        for native in (True, False)
        for fallback in (False, True)
    ]


@pytest.fixture(scope="module")
async def outcomes(start_product: Any, simulated: SimulatorProcess) -> Outcomes:
    """Of all cases."""
    clients, found = Clients(), Outcomes()

    async def add(product: Product, fault: str) -> None:
        for result in await product.ask(*cases_of(fault)):
            found[result.case] = (result, await clients.read(result))

    for silence, faults in ((PATIENT, NAMES - STALLS), (HASTY, STALLS)):
        async with start_product(silence=silence) as product:
            for fault in sorted(faults):
                plan = {"probabilities": {VALUES.get(fault, fault): 1.0}}
                simulated.control(reset="all", faults=dict.fromkeys(FAULTY, plan))
                await add(product, fault)
    simulated.control(reset="all")
    async with start_product(keys=dict.fromkeys(FAULTY, BAD_KEY)) as product:
        await add(product, "bad key")
    async with start_product(base_urls={name: f"http://127.0.0.1:{free_port()}/v1" for name in FAULTY}) as product:
        await add(product, "closed port")
    assert simulated.counts()["invalid_examples"] == []
    return found


def of(outcomes: Outcomes, fault: str) -> Iterator[tuple[Case, Result, Seen]]:
    return ((case, *outcome) for case, outcome in outcomes.items() if case.fault == fault)


def test_the_page_names_every_fault_of_the_simulator() -> None:
    assert FAULTS.keys() == NAMES | {"bad key", "closed port"}


@pytest.mark.parametrize("fault", FAULTS)
def test_what_is_broken_never_looks_whole(outcomes: Outcomes, fault: str) -> None:
    for case, result, seen in of(outcomes, fault):
        whole = seen.ended and len(seen.text) == ANSWER_BYTES
        assert whole is (seen.error is None), (case, result, seen)
        if seen.error is not None:
            assert not seen.ended, (case, result)
            ends = (b"data: [DONE]", b'"response.completed"', b'"message_stop"')
            assert not any(end in result.body for end in ends), (case, result.body)


@pytest.mark.parametrize("fault", FAULTS)
def test_who_answers_is_said_and_is_the_fallback_where_nothing_had_come(outcomes: Outcomes, fault: str) -> None:
    for case, result, seen in of(outcomes, fault):
        begun = fault in HARMLESS or (case.stream and fault in IN_THE_MIDDLE)
        # A whole answer is awaited until the request's time is over, and there is none left for a fallback.
        too_late = not case.stream and fault in STALLS
        answers = result.headers.get("x-penstock-provider")
        if begun:
            assert answers == case.provider, (case, result)
        elif case.fallback and fault not in CALLERS and not too_late:
            assert answers == FALLBACK[0], (case, result)
            assert "failed, so a fallback answers" in result.headers["x-penstock-route-reason"]
            assert seen.error is None
        else:
            assert answers is None, (case, result)
            assert result.status == (504 if too_late else STATUS.get(fault, 502)), (case, result.body)


@pytest.mark.parametrize("fault", FAULTS)
def test_the_official_clients_raise_what_they_would_at_the_provider(outcomes: Outcomes, fault: str) -> None:
    classes = {400: "BadRequestError", 404: "NotFoundError", 429: "RateLimitError"}
    of_anthropic = {503: "ServiceUnavailableError", 504: "GatewayTimeoutError"}
    for case, result, seen in of(outcomes, fault):
        anthropic = case.surface == "messages"
        if result.status != 200:
            other = of_anthropic.get(result.status, "InternalServerError") if anthropic else "InternalServerError"
            assert seen.error == classes.get(result.status, other), (case, result.body)
        elif seen.error is not None:
            told = case.surface == "responses" and case.native and fault == "error_mid"
            expected = "response.failed" if told else "APIStatusError" if anthropic else "APIError"
            assert seen.error == expected, (case, result.body)
            assert case.stream
            assert fault in IN_THE_MIDDLE


@pytest.mark.parametrize("fault", FAULTS)
def test_no_key_is_in_any_answer(outcomes: Outcomes, fault: str) -> None:
    for case, result, _ in of(outcomes, fault):
        said = result.body.decode() + str(result.headers)
        assert KEY not in said, case
        assert "bad-key" not in said, case


@pytest.mark.parametrize("fault", FAULTS)
def test_the_ledger_holds_every_attempt_as_it_was_billed(outcomes: Outcomes, fault: str) -> None:
    for case, result, _ in of(outcomes, fault):
        assert result.rows, case
        if fault in ("bad key", "closed port"):  # The simulator has not seen these calls, or not as calls.
            sent = sorted(spent for spent in result.spent if any(spent))
            assert sent == result.billed, (case, result.rows)
        else:
            assert result.spent == result.billed, (case, result.rows)
        if result.status == 200 and not case.stream:
            cost = sum(row["cost_nano"] for row in result.rows)
            assert result.headers["x-penstock-cost-usd"] == f"{cost / 1e9:.9f}", case


def test_the_page_holds_what_was_seen(outcomes: Outcomes) -> None:
    seen, page = render(outcomes), PAGE.read_text("utf-8")
    if os.environ.get(WRITE):
        PAGE.write_text(page.replace(table_of(page), seen), "utf-8")
        return
    assert table_of(page) == seen, f"docs/api/faults.md differs from what was seen; {WRITE}=1 writes it anew"
