"""A comparison for people."""

from collections import Counter

from rich.console import Console
from rich.table import Table

from load.ledger_check.comparison import IN_FLIGHT, NANO, Comparison

SHOWN = 20
_KINDS = ("attempts", "input", "cached", "cache_write", "output", "nano-dollars")


def show(found: Comparison, outcomes: Counter[str], console: Console) -> None:
    """outcomes: what the clients saw."""
    console.print(_totals(found), _outcomes(found))
    seen = ", ".join(f"{count:,} {name}" for name, count in sorted(outcomes.items()))
    console.print(f"The clients saw: {seen}.")
    console.print(
        f"{outcomes['left']:,} clients left, {found.cancelled:,} of them during an attempt. At most {found.in_flight} "
        f"tokens of an answer were on their way when it was given up ({IN_FLIGHT} are allowed). "
        f"{found.never_heard:,} attempts had not reached the simulator when their client left."
    )
    for difference in found.differences[:SHOWN]:
        console.print(difference, style="red", markup=False)
    left = len(found.differences) - SHOWN
    if left > 0:
        console.print(f"and {left:,} more differences", style="red")
    dollars = found.totals["ledger"]["nano-dollars"] / NANO
    verdict = "No difference" if not found.differences else f"{len(found.differences):,} differences"
    console.print(f"{verdict} in {found.totals['ledger']['attempts']:,} attempts that cost {dollars:.9f} USD.")


def _totals(found: Comparison) -> Table:
    table = Table("", "simulator's bills", "ledger", title="Sums", title_justify="left")
    for kind in _KINDS:
        table.add_row(kind, f"{found.totals['bills'][kind]:,}", f"{found.totals['ledger'][kind]:,}")
    return table


def _outcomes(found: Comparison) -> Table:
    names = sorted({outcome for _, outcome in found.outcomes})
    table = Table("fault", *names, title="Attempts by fault and outcome in the ledger", title_justify="left")
    for fault in sorted({fault for fault, _ in found.outcomes}):
        table.add_row(fault or "none", *(f"{found.outcomes[fault, name]:,}" for name in names))
    return table
