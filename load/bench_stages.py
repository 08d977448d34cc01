"""Latency and throughput of each path through the product, by serve profile, in one sitting.

Without --url it starts the product itself, one profile after the other, in a temporary home with the provider simulator
on loopback, and always stops it. With --url it measures a product that runs already.
"""

import argparse
import importlib.util
import signal
import sys
import time
from collections.abc import Generator, Iterator
from contextlib import closing, contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, NoReturn

from rich.console import Console

from load.bare_serve import BareServe, BareServeError, bare_serve
from load.client import LoadGenerator
from load.loopback import loopback_address
from load.machine import machine
from load.measure import Plan, Servers, measure, problems
from load.memory import memory_of, processes_of
from load.paths import bench_paths
from load.report import show, write_json, write_plot
from load.simulator.process import SimulatorProcess, simulator
from load.stack import Stack, StackError, started_stack, temporary_home
from load.targets import judged

PROFILES = ("local", "inline", "cluster")
TOKENS = 28
"""Of each of the simulator's answers: a stream has 31 events with its role, its finish reason and `[DONE]`."""
SETTLE_SECONDS = 5.0
REPORT_WIDTH = 132
"""Characters, where the report does not go to a terminal."""

_EXAMPLES = """examples:
  python -m load.bench_stages --json results/stages.json --plot results/stages.png
  python -m load.bench_stages --profiles inline --paths bare-1,direct,chat --seconds 2
  python -m load.bench_stages --url http://127.0.0.1:8000 --key-file ~/.penstock/secrets/key --home ~/.penstock
  penstock key | python -m load.bench_stages --url http://127.0.0.1:8000 --key - --simulator-url http://127.0.0.1:9100

exit codes: 0 all measured, 1 a path gave errors or the product did not start (the report says which),
2 wrong arguments, 130 interrupted
"""


def main(arguments: list[str] | None = None) -> int:
    """Command line; the exit codes stand in its help."""
    parser = _parser()
    options = parser.parse_args(arguments)
    plan = _plan(parser, options)
    console = Console(stderr=True)
    signal.signal(signal.SIGTERM, _terminate)
    try:
        report = run(options, plan, console)
    except (StackError, BareServeError) as error:
        console.print(str(error), style="red", markup=False)
        return 1
    except KeyboardInterrupt:
        return 130
    show(report, Console(width=None if sys.stdout.isatty() else REPORT_WIDTH))
    if options.json:
        write_json(report, options.json)
    if options.plot:
        write_plot(report, options.plot)
    return 1 if report["problems"] else 0


def run(options: argparse.Namespace, plan: Plan, console: Console) -> dict[str, Any]:
    """The whole report: its fields are those of "The JSON" in docs/performance/benchmarks.md."""
    report: dict[str, Any] = {
        "started_at": datetime.now(UTC).isoformat(timespec="seconds"),
        "seconds": plan.seconds,
        "rounds": plan.rounds,
        "machine": machine(),
        "simulator": {"tokens": TOKENS, "latency_ms": 0, "token_interval_ms": 0} if not options.simulator_url else None,
        "profiles": {},
        "problems": [],
    }
    with (
        _simulator(options) as upstream,
        LoadGenerator() as generator,
        # Closed at once when a measurement is interrupted, and not when the interpreter gets round to it.
        closing(_stacks(options, upstream, console)) as stacks,
        console.status("starting") as status,
    ):
        for name, stack, memory in stacks:
            # Not before the product's memory was read: two clusters share pages, of which each would count half.
            with _bare(plan, console) as bare:
                measured = measure(plan, Servers(stack, upstream, bare), generator, status.update)
            report["profiles"][name] = {"ready_seconds": stack.ready_seconds, "memory": memory, "paths": measured}
            report["problems"] += [f"{name}: {problem}" for problem in problems(measured, plan.paths)]
    report["targets"] = judged(report["profiles"])
    return report


def _stacks(
    options: argparse.Namespace, upstream: SimulatorProcess | None, console: Console
) -> Generator[tuple[str, Stack, dict[str, Any] | None], None, None]:
    """The products to measure, each with its profile's name and its memory when idle."""
    if options.url:
        stack = Stack(options.url.rstrip("/"), options.key, home=options.home)
        yield options.profiles[0], stack, _idle_memory(stack)
        return
    assert upstream is not None
    with temporary_home() as home:
        for profile in options.profiles:
            say = console.print
            with started_stack(profile, home, upstream.base_url(), say) as stack:
                time.sleep(SETTLE_SECONDS)
                yield profile, stack, _idle_memory(stack)


@contextmanager
def _bare(plan: Plan, console: Console) -> Iterator[BareServe | None]:
    if not any(path.server == "bare" for path in plan.paths):
        yield None
        return
    console.print("bare Ray Serve: starting")
    with bare_serve() as bare:
        time.sleep(SETTLE_SECONDS)
        yield bare


def _idle_memory(stack: Stack) -> dict[str, Any] | None:
    return None if stack.home is None else memory_of(processes_of(stack.home))


@contextmanager
def _simulator(options: argparse.Namespace) -> Iterator[SimulatorProcess | None]:
    if options.simulator_url:
        yield SimulatorProcess(options.simulator_url)
    elif options.url:
        yield None
    else:
        with simulator(tokens=TOKENS, validate=False) as running:
            yield running


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m load.bench_stages",
        description=__doc__,
        epilog=_EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--url", help="a product that runs already, on this machine")
    parser.add_argument(
        "--key", help="its API key, or - to read it from standard input (keeps it off the command line)"
    )
    parser.add_argument("--key-file", type=Path, help="a file that holds the API key")
    parser.add_argument("--home", type=Path, help="its PENSTOCK_HOME, to measure its memory")
    parser.add_argument("--simulator-url", help="the load.simulator that it has as its compatible provider")
    parser.add_argument("--profiles", type=_words, default=["local", "inline"], help="default: local,inline")
    parser.add_argument("--paths", type=_words, help="only these: " + ",".join(path.name for path in bench_paths()))
    parser.add_argument("--no-bare", action="store_true", help="leave out the bare Ray Serve application")
    parser.add_argument("--query-model", help="`model` of each tutor query; default: the product chooses")
    parser.add_argument("--seconds", type=float, default=5.0, help="of each measurement (default 5)")
    parser.add_argument("--rounds", type=int, default=2, help="that each measurement is split into (default 2)")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write everything that was measured")
    parser.add_argument("--plot", type=Path, metavar="FILE", help="write a picture (needs matplotlib)")
    return parser


def _plan(parser: argparse.ArgumentParser, options: argparse.Namespace) -> Plan:
    """Check the arguments together; ends the program with exit code 2 where they are wrong."""
    paths = {path.name: path for path in bench_paths({"model": options.query_model} if options.query_model else None)}
    unknown = [name for name in options.paths or [] if name not in paths]
    if unknown:
        parser.error(f"no such path: {', '.join(unknown)}; there are {', '.join(paths)}")
    if not options.profiles or not set(options.profiles) <= set(PROFILES):
        parser.error(f"profiles are {', '.join(PROFILES)}")
    if not 0 < options.seconds <= 300 or not 1 <= options.rounds <= 20:
        parser.error("--seconds must be above 0 and at most 300, --rounds 1 to 20")
    if options.plot and importlib.util.find_spec("matplotlib") is None:
        parser.error("--plot needs matplotlib: pip install 'penstock[dev]'")
    if options.url:
        _check_running_product(parser, options)
    elif options.simulator_url or options.key or options.key_file or options.home:
        parser.error("--key, --key-file, --home and --simulator-url go with --url")
    chosen = [path for name, path in paths.items() if not options.paths or name in options.paths]
    chosen = [path for path in chosen if not (options.no_bare and path.server == "bare")]
    if not chosen:
        parser.error("--no-bare leaves none of these paths")
    return Plan(tuple(chosen), options.seconds, options.rounds)


def _check_running_product(parser: argparse.ArgumentParser, options: argparse.Namespace) -> None:
    options.profiles = options.profiles[:1]
    try:
        loopback_address(options.url)
        if options.simulator_url:
            loopback_address(options.simulator_url)
        if options.key_file:
            options.key = options.key_file.expanduser().read_text("utf-8").strip()
    except (ValueError, OSError) as error:
        parser.error(str(error))
    if options.key == "-":
        options.key = sys.stdin.readline().strip()
    if not options.key:
        parser.error("--url needs --key or --key-file")


def _words(text: str) -> list[str]:
    return [word.strip() for word in text.split(",") if word.strip()]


def _terminate(number: int, frame: object) -> NoReturn:
    """Leave as Ctrl-C does, through every block that stops what was started."""
    raise KeyboardInterrupt


if __name__ == "__main__":
    sys.exit(main())
