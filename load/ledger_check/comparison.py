"""Row by row: what the ledger holds of each attempt, and what the simulator billed for it.

An attempt that is given up, because its client left or its time was over, may have something on its way to it: more
tokens than the product had read, or an error that it had not. Everything else must be equal, to the token and the
nano-dollar.
"""

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from decimal import Decimal
from typing import Any

from load.ledger_check.prices import PriceBook, Tokens

IN_FLIGHT = 100
"""Tokens of an answer that may be between the simulator and the product: more than any of them has."""
NANO = 1_000_000_000
PROVIDERS = {"gemini": "google"}
"""The product's names of providers where they differ from the simulator's."""
COUNTS = ("input", "cached", "cache_write", "output")
Row = Mapping[str, Any]


@dataclass(slots=True)
class Comparison:
    """What was found.

    differences: what is not as it must be, a sentence each. totals: by `ledger` and `bills`: attempts, tokens by kind,
    nano-dollars. outcomes: by fault (empty: none) and the ledger's outcome. cancelled: attempts whose client left.
    in_flight: the most tokens that an attempt which was given up was billed and the ledger does not have. never_heard:
    attempts whose client left before the simulator had the request, with their prompt in the ledger.
    """

    differences: list[str] = field(default_factory=list)
    totals: dict[str, Counter[str]] = field(default_factory=lambda: {"ledger": Counter(), "bills": Counter()})
    outcomes: Counter[tuple[str, str]] = field(default_factory=Counter)
    cancelled: int = 0
    in_flight: int = 0
    never_heard: int = 0


def compare(bills: Iterable[Row], rows: Iterable[Row], left: set[str], book: PriceBook) -> Comparison:
    """bills: GET /bills of the simulator. rows: of GET /api/usage. left: request ids whose clients left."""
    found = Comparison()
    billed, recorded = _by_request(bills), _by_request(rows)
    for request_id in billed.keys() | recorded.keys():
        pairs = _paired(billed[request_id], recorded[request_id])
        for bill, row in pairs:
            found.cancelled += row is not None and row["outcome"] == "cancelled" and request_id in left
            _add(found, bill, row)
            if bill is None and row is not None and _never_heard(row, request_id in left):
                found.never_heard += 1
            elif bill is None or row is None:
                found.differences.append(f"{request_id}: only {_words(bill) if row is None else _words(row)}")
            else:
                _compare(found, bill, row, request_id in left, book)
    return found


def _compare(found: Comparison, bill: Row, row: Row, left: bool, book: PriceBook) -> None:
    where = f"attempt {row['attempt']} at {row['provider']}/{row['model']}"
    name = f"{row['request_id']}, {where}, fault {bill['fault']}, {row['outcome']}"
    charged, held = _tokens(bill), _tokens(row)
    expected = charged
    if charged != held:
        missing = charged["output"] - held["output"]
        on_its_way = charged["input"] == held["input"] and 0 <= missing <= IN_FLIGHT
        error_on_its_way = bill["state"] == "refused" and not held["output"]
        given_up = row["outcome"] == "cancelled" and (left or bill["fault"] is None)
        if not (given_up and (on_its_way or error_on_its_way)):
            found.differences.append(f"{name}: billed {charged}, in the ledger {held}")
            return
        found.in_flight = max(found.in_flight, missing)
        expected = held
    cost = None if row["cost_usd"] is None else int(Decimal(row["cost_usd"]) * NANO)
    right = _cost(bill, row, expected, book, stated=charged == held)
    if cost != right:
        found.differences.append(f"{name}: costs {right} nano-dollars, in the ledger {cost}")
    if right is not None:
        found.totals["bills"]["nano-dollars"] += right


def _never_heard(row: Row, left: bool) -> bool:
    return left and row["outcome"] == "cancelled" and not row["output_tokens"]


def _cost(bill: Row, row: Row, counts: Mapping[str, int], book: PriceBook, *, stated: bool) -> int | None:
    if not any(counts.values()):
        return 0
    if stated and bill["cost"] is not None:
        return int(bill["cost"])
    long = int(bill["cache_write_long"]) if counts["cache_write"] else 0
    tokens = Tokens(counts["input"], counts["cached"], counts["cache_write"], counts["output"], long)
    return book.cost(row["provider"], row["model"], datetime.fromisoformat(row["started_at"]).date(), tokens)


def _paired(bills: list[Row], rows: list[Row]) -> list[tuple[Row | None, Row | None]]:
    """Each attempt on both sides: the equal ones first, then those at one model, then what is left over."""
    pairs: list[tuple[Row | None, Row | None]] = []
    bills, rows = list(bills), list(rows)
    for exactly in (True, False):
        for bill in list(bills):
            row = next((one for one in rows if _place(bill) == _place(one) and _equal(bill, one, exactly)), None)
            if row is not None:
                pairs.append((bill, row))
                bills.remove(bill)
                rows.remove(row)
    return [*pairs, *((bill, None) for bill in bills), *((None, row) for row in rows)]


def _equal(bill: Row, row: Row, exactly: bool) -> bool:
    return not exactly or _tokens(bill) == _tokens(row)


def _place(one: Row) -> tuple[str, str]:
    """Provider and model, as the product has them."""
    provider, model = str(one["provider"]), str(one["model"])
    provider = PROVIDERS.get(provider, provider)
    # Perplexity has one model; ours that are called otherwise are that one with other settings.
    return provider, "sonar" if provider == "perplexity" else model


def _tokens(one: Row) -> dict[str, int]:
    return {name: one[f"{name}_tokens"] if "attempt" in one else one[name] for name in COUNTS}


def _add(found: Comparison, bill: Row | None, row: Row | None) -> None:
    for side, one in (("bills", bill), ("ledger", row)):
        if one is not None:
            found.totals[side] += Counter({"attempts": 1, **_tokens(one)})
    if row is not None and row["cost_usd"] is not None:
        found.totals["ledger"]["nano-dollars"] += int(Decimal(row["cost_usd"]) * NANO)
    if row is not None:
        found.outcomes[(bill["fault"] or "") if bill else "not billed", row["outcome"]] += 1


def _words(one: Row | None) -> str:
    if one is None:
        return "nothing"
    where = "in the ledger" if "attempt" in one else f"billed (fault {one['fault']}, {one['state']})"
    return f"{where}: {'/'.join(_place(one))} {_tokens(one)}"


def _by_request(rows: Iterable[Row]) -> defaultdict[str, list[Row]]:
    found: defaultdict[str, list[Row]] = defaultdict(list)
    for row in rows:
        found[str(row["request_id"])].append(row)
    return found
