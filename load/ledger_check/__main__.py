"""Thousands of mixed calls with faults against a whole product; then its ledger beside the simulator's bills.

Starts the simulator and the product in a temporary home, with the simulator as all five providers. The calls are on
three surfaces, streamed and whole, with tools, schemas and cached prompts; a share of them fails in every way that the
simulator knows, and some clients leave. Each attempt must be in the ledger with the tokens that were billed, at the
price of configs/prices.yaml, reckoned here by arithmetic of its own.
"""

import argparse
import asyncio
import signal
import sys
import time
from datetime import UTC, datetime, timedelta
from typing import NoReturn

import orjson
from rich.console import Console

from load.ledger_check.calls import FAULTS, planned_calls
from load.ledger_check.comparison import Comparison, compare
from load.ledger_check.ledger import LedgerError, LedgerReader
from load.ledger_check.player import Played, play
from load.ledger_check.prices import PriceBook
from load.ledger_check.report import show
from load.simulator.process import SimulatorProcess, simulator
from load.stack import StackError, started_stack, temporary_home

ANSWER_TOKENS = 24
LATENCY_MS, TOKEN_INTERVAL_MS = 3.0, 0.3
"""So that a client can leave in the middle of an answer."""
SILENCE = "2"
"""Seconds after which silent streams are given up here, so that stalls do not take long."""
REPORT_WIDTH = 132

_EXAMPLES = """examples:
  python -m load.ledger_check
  python -m load.ledger_check --calls 2000 --profile inline --seed 7

exit codes: 0 no difference, 1 differences or a product that does not start, 2 wrong arguments, 130 interrupted
"""


def main(arguments: list[str] | None = None) -> int:
    """Command line; the exit codes stand in its help."""
    parser = _parser()
    options = parser.parse_args(arguments)
    if not 1 <= options.calls <= 150_000 or not 1 <= options.connections <= 256:
        parser.error("--calls must be 1 to 150000, --connections 1 to 256")
    console = Console(width=None if sys.stdout.isatty() else REPORT_WIDTH)
    signal.signal(signal.SIGTERM, _terminate)
    try:
        found, played = run(options, Console(stderr=True))
    except (StackError, LedgerError) as error:
        console.print(str(error), style="red", markup=False)
        return 1
    except KeyboardInterrupt:
        return 130
    show(found, played.outcomes, console)
    return 1 if found.differences else 0


def run(options: argparse.Namespace, console: Console) -> tuple[Comparison, Played]:
    """Start everything, play, compare, stop everything. Raises StackError and LedgerError."""
    with (
        simulator(
            tokens=ANSWER_TOKENS, seed=options.seed, latency_ms=LATENCY_MS, token_interval_ms=TOKEN_INTERVAL_MS
        ) as upstream,
        temporary_home() as home,
        started_stack(
            options.profile, home, upstream.base_url(), console.print, more=environment(upstream), curriculum=False
        ) as stack,
        console.status("playing") as status,
    ):
        upstream.control(reset="all", faults={"*": {"probabilities": FAULTS}})
        since = datetime.now(UTC) - timedelta(minutes=1)
        begun = time.perf_counter()
        played = asyncio.run(
            play(
                stack.url,
                stack.key,
                planned_calls(options.calls, options.seed),
                connections=options.connections,
                progress=lambda count: status.update(f"{count:,} of {options.calls:,} calls"),
            )
        )
        console.print(f"{options.calls:,} calls in {time.perf_counter() - begun:.1f} s")
        ledger = LedgerReader(stack.url, stack.key, since)
        count = ledger.settled()
        rows = ledger.rows(lambda read: status.update(f"{read:,} of {count:,} rows of the ledger"))
        return compare(upstream.bills(), rows, played.left, PriceBook()), played


def environment(upstream: SimulatorProcess) -> dict[str, str]:
    """What points the product at the simulator and shortens its patience."""
    providers = {"openai": "openai", "anthropic": "anthropic", "groq": "groq", "google": "gemini"}
    urls = {name: upstream.base_url(simulated) for name, simulated in providers.items()}
    urls["perplexity"] = f"{upstream.base_url('perplexity')}/v1"
    caller = "PENSTOCK_PROVIDER_CALLER__"
    first_token = {f"{caller}RESILIENCE__FIRST_TOKEN__{name}": SILENCE for name in ("LEAST", "MOST", "DEFAULT")}
    keys = {f"{name.upper()}_API_KEY": "sk-simulated" for name in urls}
    return {
        f"{caller}BASE_URLS": orjson.dumps(urls).decode(),
        f"{caller}IDLE_TIMEOUT": SILENCE,
        "PENSTOCK_SERVER__REQUEST_TIMEOUT": "8",
        **first_token,
        **keys,
    }


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m load.ledger_check",
        description=__doc__,
        epilog=_EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--calls", type=int, default=10_000, help="default 10000")
    parser.add_argument("--connections", type=int, default=16, help="clients at the same time (default 16)")
    parser.add_argument("--seed", type=int, default=1, help="of the calls, the answers and the faults (default 1)")
    parser.add_argument("--profile", choices=("local", "inline"), default="local", help="serve profile (default local)")
    return parser


def _terminate(number: int, frame: object) -> NoReturn:
    """Leave as Ctrl-C does, through every block that stops what was started."""
    raise KeyboardInterrupt


if __name__ == "__main__":
    sys.exit(main())
