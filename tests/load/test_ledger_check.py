"""What the ledger check reckons, and what it takes for a difference."""

from datetime import date
from pathlib import Path
from typing import Any

import orjson
import pytest

from load.ledger_check import __main__ as check
from load.ledger_check.calls import planned_calls
from load.ledger_check.comparison import compare
from load.ledger_check.prices import PriceBook, Tokens
from load.simulator.faults import NAMES

PRICES = """
river:
  wide:
    - {from: 2026-01-01, input: 100, output: 400}
    - {from: 2026-06-01, input: 150, output: 600, cached_input: 37.5, cache_write: 187.5, cache_write_long: 300,
       request: 1000, tiers: [{above: 1000, input: 300, output: 900, cached_input: 75}]}
  deep: null
"""


@pytest.fixture
def book(tmp_path: Path) -> PriceBook:
    file = tmp_path / "prices.yaml"
    file.write_text(PRICES, "utf-8")
    return PriceBook(file)


@pytest.mark.parametrize(
    ("tokens", "cost"),
    [
        (Tokens(10, 0, 0, 5), 1000 + 1500 + 3000),
        (Tokens(10, 1, 0, 0), 1000 + 9 * 150 + 38),  # 37.5 is rounded half up
        (Tokens(10, 2, 3, 0), 1000 + 5 * 150 + 75 + 563),
        (Tokens(10, 0, 4, 0, 3), 1000 + 6 * 150 + 188 + 900),
        (Tokens(1000, 0, 0, 0), 1000 + 150_000),
        (Tokens(1001, 1, 0, 1), 1000 + 300_000 + 75 + 900),
    ],
)
def test_a_call_costs_what_its_tokens_do_on_that_day(book: PriceBook, tokens: Tokens, cost: int) -> None:
    assert book.cost("river", "wide", date(2026, 7, 1), tokens) == cost


def test_prices_are_those_of_the_day_and_may_be_unknown(book: PriceBook) -> None:
    assert book.cost("river", "wide", date(2026, 5, 31), Tokens(1, 0, 0, 1)) == 500
    assert book.cost("river", "wide", date(2025, 12, 31), Tokens(1, 0, 0, 1)) is None
    assert book.cost("river", "deep", date(2026, 7, 1), Tokens(1, 0, 0, 1)) is None
    assert book.cost("lake", "wide", date(2026, 7, 1), Tokens(1, 0, 0, 1)) is None


def bill(**of: Any) -> dict[str, Any]:
    return {
        "request_id": "r1", "provider": "river", "model": "wide", "input": 10, "cached": 0, "cache_write": 0,
        "output": 5, "cache_write_long": 0, "cost": None, "fault": None, "state": "completed", **of,
    }  # fmt: skip


def row(**of: Any) -> dict[str, Any]:
    return {
        "request_id": "r1", "attempt": 1, "provider": "river", "model": "wide", "input_tokens": 10, "cached_tokens": 0,
        "cache_write_tokens": 0, "output_tokens": 5, "cost_usd": "0.000005500", "outcome": "ok",
        "started_at": "2026-07-01T10:00:00Z", **of,
    }  # fmt: skip


NOTHING = {"input": 0, "output": 0, "fault": "500", "state": "refused"}
NO_ROW = {"input_tokens": 0, "output_tokens": 0, "cost_usd": "0", "outcome": "failed"}


def test_what_is_equal_is_no_difference(book: PriceBook) -> None:
    found = compare([bill(**NOTHING), bill()], [row(attempt=2), row(**NO_ROW)], set(), book)
    assert found.differences == []
    assert found.totals["ledger"] == found.totals["bills"]
    assert found.totals["ledger"]["nano-dollars"] == 5500
    assert found.outcomes == {("", "ok"): 1, ("500", "failed"): 1}


@pytest.mark.parametrize(
    ("bills", "rows"),
    [
        ([bill()], []),
        ([], [row()]),
        ([bill()], [row(), row(attempt=2)]),
        ([bill(output=6)], [row()]),
        ([bill(cached=1)], [row()]),
        ([bill()], [row(cost_usd="0.000005501")]),
        ([bill()], [row(cost_usd=None)]),
        ([bill(cost=7)], [row()]),
        ([bill(**NOTHING)], [row()]),
        ([bill(model="deep")], [row()]),
    ],
)
def test_any_other_token_row_or_nano_dollar_is_a_difference(
    book: PriceBook, bills: list[dict[str, Any]], rows: list[dict[str, Any]]
) -> None:
    assert compare(bills, rows, set(), book).differences


def test_a_client_that_leaves_may_be_billed_for_what_was_on_its_way(book: PriceBook) -> None:
    cancelled = row(outcome="cancelled", output_tokens=2, cost_usd="0.000003700")
    found = compare([bill(state="cancelled")], [cancelled], {"r1"}, book)
    assert (found.differences, found.cancelled, found.in_flight) == ([], 1, 3)
    refused = compare([bill(**NOTHING)], [{**cancelled, "output_tokens": 0, "cost_usd": "0.0000025"}], {"r1"}, book)
    assert refused.differences == []
    assert compare([bill()], [{**cancelled, "outcome": "ok"}], {"r1"}, book).differences
    assert compare([bill(**NOTHING)], [cancelled], {"r1"}, book).differences
    never_heard = compare([], [{**cancelled, "output_tokens": 0}], {"r1"}, book)
    assert (never_heard.differences, never_heard.never_heard) == ([], 1)
    assert compare([], [cancelled], {"r1"}, book).differences
    assert compare([bill(output=500)], [cancelled], {"r1"}, book).differences
    assert compare([bill(input=11)], [cancelled], {"r1"}, book).differences
    assert compare([bill(output=1)], [cancelled], {"r1"}, book).differences


def test_an_attempt_whose_time_was_over_may_be_too_but_for_a_silent_one_nothing_was_on_its_way(book: PriceBook) -> None:
    cancelled = row(outcome="cancelled", output_tokens=0, cost_usd="0.0000025")
    assert compare([bill()], [cancelled], set(), book).differences == []
    assert compare([bill(fault="stall_mid", state="cancelled")], [cancelled], set(), book).differences


def test_a_seed_gives_the_same_calls() -> None:
    calls = list(planned_calls(400, 3))
    assert calls == list(planned_calls(400, 3)) != list(planned_calls(400, 4))
    bodies = [orjson.loads(call.body) for call in calls]
    assert len({call.request_id for call in calls}) == 400
    assert {call.path for call in calls} == {"/v1/chat/completions", "/v1/responses", "/v1/messages"}
    assert len({body["model"] for body in bodies}) == 8
    assert 0 < sum(call.leaves_after is not None for call in calls) < 40
    assert any("tools" in body for body in bodies)


def test_every_fault_of_the_check_is_one_of_the_simulators() -> None:
    assert {fault.partition(":")[0] for fault in check.FAULTS} <= NAMES
    assert sum(check.FAULTS.values()) < 0.2


@pytest.mark.parametrize("words", [["--calls", "0"], ["--connections", "1000"], ["--profile", "cluster"]])
def test_wrong_arguments_are_refused_before_anything_starts(
    words: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as ended:
        check.main(words)
    assert ended.value.code == 2
    assert "usage:" in capsys.readouterr().err
