"""Penstock, LiteLLM and Portkey in front of one simulator: added latency and requests/s, plain and streaming.

Installs the peers in a folder of their own, starts each on loopback, one after the other so that none disturbs
another, and measures the direct way beside each. Penstock runs with its key check, limits, a hard budget, the durable
ledger and metrics on; that every call is in its ledger is checked at the end.
"""

import argparse
import importlib.util
import signal
import sys
import time
from collections.abc import Callable
from contextlib import AbstractContextManager, ExitStack
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, NoReturn

from rich.console import Console

from load.client import LoadGenerator
from load.compare import gateways
from load.compare.gateways import Gateway, GatewayError
from load.compare.install import LITELLM, PORTKEY, InstallError
from load.compare.measure import added, answered, check_ledger, measure, with_direct
from load.compare.report import judged, show, write_plot
from load.machine import machine
from load.report import write_json
from load.simulator.process import simulator
from load.stack import StackError

DEFAULT_FOLDER = Path.home() / ".cache" / "penstock-compare"
TOKENS = 28
"""Of each answer: a stream has 31 events with its role, its finish reason and `[DONE]`."""
PHASES = (("litellm", "portkey"), ("local",), ("inline",))
"""What runs at the same time: the peers cost nothing while they wait, a Penstock does."""
NAMES = tuple(name for phase in PHASES for name in phase)
REPORT_WIDTH = 132
SETTLE_SECONDS = 3.0

_EXAMPLES = """examples:
  python -m load.compare
  python -m load.compare --gateways litellm,local --seconds 3
  python -m load.compare --json results/compare.json --plot results/compare.png

exit codes: 0 every floor met, 1 a floor missed or a gateway with errors (the report says which), 2 wrong arguments,
130 interrupted
"""


def main(arguments: list[str] | None = None) -> int:
    """Command line; the exit codes stand in its help."""
    parser = _parser()
    options = parser.parse_args(arguments)
    if not options.gateways or not set(options.gateways) <= set(NAMES):
        parser.error(f"gateways are {', '.join(NAMES)}")
    if not 0.5 <= options.seconds <= 120 or not 1 <= options.rounds <= 20:
        parser.error("--seconds must be 0.5 to 120, --rounds 1 to 20")
    if options.plot and importlib.util.find_spec("matplotlib") is None:
        parser.error("--plot needs matplotlib: pip install 'penstock[dev]'")
    console = Console(stderr=True)
    signal.signal(signal.SIGTERM, _terminate)
    try:
        report = run(options, console)
    except (InstallError, GatewayError, StackError) as error:
        console.print(str(error), style="red", markup=False)
        return 1
    except KeyboardInterrupt:
        return 130
    show(report, Console(width=None if sys.stdout.isatty() else REPORT_WIDTH))
    if options.json:
        write_json(report, options.json)
    if options.plot:
        write_plot(report, options.plot)
    return 1 if report["problems"] or not all(ratio["met"] for ratio in report["ratios"]) else 0


def run(options: argparse.Namespace, console: Console) -> dict[str, Any]:
    """The whole report: `{"started_at", "seconds", "rounds", "machine", "versions", "figures", "ratios", …}`."""
    report: dict[str, Any] = {
        "started_at": datetime.now(UTC).isoformat(timespec="seconds"),
        "seconds": options.seconds,
        "rounds": options.rounds,
        "machine": machine(),
        "versions": {"litellm": LITELLM, "portkey": PORTKEY},
        "features": {},
        "figures": {},
        "directs": [],
        "problems": [],
    }
    options.folder.mkdir(parents=True, exist_ok=True)
    with simulator(tokens=TOKENS, validate=False) as upstream, LoadGenerator() as generator:
        for phase in PHASES:
            chosen = [name for name in phase if name in options.gateways]
            if chosen:
                _measure_phase(chosen, upstream.url, options, generator, console, report)
    report["figures"] = {"direct": _least_disturbed(report.pop("directs")), **report["figures"]}
    report["ratios"] = judged(report["figures"])
    for name, cells in report["figures"].items():
        report["problems"] += [
            f"{name}: {load}: {cell['errors']} {cell['error_sample']}" for load, cell in cells.items() if cell["errors"]
        ]
    return report


def _measure_phase(
    names: list[str],
    upstream: str,
    options: argparse.Namespace,
    generator: LoadGenerator,
    console: Console,
    report: dict[str, Any],
) -> None:
    with ExitStack() as running, console.status("starting") as status:
        started = [running.enter_context(_start(name, options.folder, upstream, console.print)) for name in names]
        time.sleep(SETTLE_SECONDS)
        figures = measure(
            with_direct(upstream, started),
            generator,
            seconds=options.seconds,
            rounds=options.rounds,
            progress=status.update,
        )
        added(figures)
        report["directs"].append(figures.pop("direct"))
        report["figures"] |= figures
        report["features"] |= {gateway.name: gateway.features for gateway in started}
        time.sleep(SETTLE_SECONDS)  # the ledger is written in batches
        problems = [check_ledger(gateway, answered(figures[gateway.name])) for gateway in started]
        report["problems"] += [problem for problem in problems if problem]


def _start(name: str, folder: Path, upstream: str, say: Callable[[str], None]) -> AbstractContextManager[Gateway]:
    if name == "litellm":
        return gateways.litellm(folder, upstream, say)
    if name == "portkey":
        return gateways.portkey(folder, upstream, say)
    return gateways.penstock(name, upstream, say)


def _least_disturbed(directs: list[dict[str, Any]]) -> dict[str, Any]:
    """Of the direct measurements beside each phase, for each load the fastest: for the table only."""
    return {load: max((d[load] for d in directs), key=lambda c: c["requests_per_second"]) for load in directs[0]}


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m load.compare",
        description=__doc__,
        epilog=_EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--gateways", type=_words, default=list(NAMES), help=f"default: {','.join(NAMES)}")
    parser.add_argument("--seconds", type=float, default=6.0, help="of each measurement (default 6)")
    parser.add_argument("--rounds", type=int, default=2, help="that each measurement is split into (default 2)")
    parser.add_argument(
        "--folder", type=Path, default=DEFAULT_FOLDER, help=f"where the peers are installed ({DEFAULT_FOLDER})"
    )
    parser.add_argument("--json", type=Path, metavar="FILE", help="write everything that was measured")
    parser.add_argument("--plot", type=Path, metavar="FILE", help="write a picture (needs matplotlib)")
    return parser


def _words(text: str) -> list[str]:
    return [word.strip() for word in text.split(",") if word.strip()]


def _terminate(number: int, frame: object) -> NoReturn:
    """Leave as Ctrl-C does, through every block that stops what was started."""
    raise KeyboardInterrupt


if __name__ == "__main__":
    sys.exit(main())
