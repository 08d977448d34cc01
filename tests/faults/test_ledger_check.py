"""The ledger check, small: its calls against the app in one process."""

import asyncio
from datetime import UTC, datetime, timedelta
from typing import Any

from load.ledger_check.calls import FAULTS, planned_calls
from load.ledger_check.comparison import compare
from load.ledger_check.ledger import LedgerReader
from load.ledger_check.player import play
from load.ledger_check.prices import PriceBook
from load.simulator.process import SimulatorProcess
from tests.simulated import HASTY

CALLS = 300
QUICK = {fault: share for fault, share in FAULTS.items() if not fault.startswith(("stall", "slow"))}


async def test_the_ledger_equals_the_bills_of_mixed_calls(start_product: Any, simulated: SimulatorProcess) -> None:
    since = datetime.now(UTC) - timedelta(seconds=5)
    simulated.control(reset="all", faults={"*": {"probabilities": QUICK}})
    async with start_product(silence=HASTY) as product:
        key = product.keys[True]
        played = await play(product.url, key, planned_calls(CALLS, 5), connections=8, progress=lambda _: None)
        await product.stage.ledger.drain()
        rows = await asyncio.to_thread(LedgerReader(product.url, key, since).rows)
    rows = [row for row in rows if row["request_id"].startswith("check-5-")]
    found = compare(simulated.bills(), rows, played.left, PriceBook())
    invalid = simulated.counts()["invalid_examples"]
    simulated.control(reset="all")
    assert invalid == []
    assert found.differences == []
    assert found.totals["ledger"] == found.totals["bills"] or found.in_flight
    assert found.totals["ledger"]["attempts"] > CALLS * 0.9
    assert len({outcome for _, outcome in found.outcomes}) >= 3
    assert played.outcomes["200"] > CALLS * 0.8
    assert played.outcomes["error event"] > 0
