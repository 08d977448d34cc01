"""What automatic routing saves on a mixed day: latency and cost against sending everything to one large model.

Starts the provider simulator with the latencies of the providers, and the product in front of it, in a temporary home;
always stops both. Three systems answer the same questions: `automatic` (the model `auto`), `one model`, and `shuffled`
(the models that `automatic` used, dealt out at random: as fast and cheap, but with the wrong model for most questions).
With --url it asks a product that runs already, whose providers must be such a simulator.
"""

import argparse
import asyncio
import importlib.util
import json
import random
import signal
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, NoReturn

from rich.console import Console

from load.loopback import NotLoopbackError, loopback_address
from load.machine import machine
from load.routing_day import DAY, Call, Question, judged, load_day, saving, shares, shuffled, summary, usual_models
from load.routing_replay import Ask, Asker, Replay
from load.routing_report import show, write_json, write_plot
from load.simulator.process import SimulatorProcess, simulator
from load.stack import Stack, StackError, started_stack, temporary_home

AUTOMATIC, ONE_MODEL, SHUFFLED = "automatic", "one model", "shuffled"
BASELINE = "openai/gpt-4o"
SIMULATED = {
    "openai": "openai",
    "anthropic": "anthropic",
    "groq": "groq",
    "google": "gemini",
    "perplexity": "perplexity",
}
"""The simulator's names of the product's providers."""
ANSWER_TOKENS = 400
"""Of the simulator; each request asks for fewer."""
REPORT_WIDTH = 132

_EXAMPLES = """examples:
  python -m load.bench_routing --json results/routing.json --plot results/routing.png
  python -m load.bench_routing --rounds 1 --time-scale 0.05 --profile inline
  penstock key | python -m load.bench_routing --url http://127.0.0.1:8000 --key - --time-scale 0.1

exit codes: 0 targets met, 1 a target missed, errors, or the product did not start, 2 wrong arguments, 130 interrupted
"""


def main(arguments: Sequence[str] | None = None) -> int:
    """Command line; the exit codes stand in its help."""
    parser = _parser()
    options = parser.parse_args(arguments)
    _check(parser, options)
    console = Console(stderr=True)
    signal.signal(signal.SIGTERM, _terminate)
    try:
        report = run(options, console)
    except (StackError, ValueError) as error:
        console.print(str(error), style="red", markup=False)
        return 1
    except KeyboardInterrupt:
        return 130
    show(report, Console(width=None if sys.stdout.isatty() else REPORT_WIDTH))
    if options.json:
        write_json(report, options.json)
    if options.plot:
        write_plot(report, options.plot)
    return 0 if not report["problems"] and all(target["met"] for target in report["targets"]) else 1


def run(options: argparse.Namespace, console: Console) -> dict[str, Any]:
    """Replay the day and put the report together."""
    questions = load_day(options.day)
    with _product(options, console) as stack:
        asker = Asker(stack.url, stack.key, connections=options.connections, time_scale=options.time_scale)
        replay = asyncio.run(_replay(asker, questions, options, console))
    return report(replay, questions, options)


def report(replay: Replay, questions: Sequence[Question], options: argparse.Namespace) -> dict[str, Any]:
    """`{"started_at", "machine", "day", "questions", "rounds", "time_scale", "baseline", "systems", "savings",
    "targets", "problems"}`. Raises ValueError where a system answered nothing."""
    systems = {name: replay.calls.get(name, []) for name in (AUTOMATIC, ONE_MODEL, SHUFFLED)}
    silent = [name for name, calls in systems.items() if not calls]
    if silent:
        problems = "; ".join(replay.errors) or "nothing was asked"
        raise ValueError(f"No question was answered by {', '.join(silent)}: {problems}")
    usual = usual_models(systems[AUTOMATIC])
    savings = {name: saving(systems[name], systems[ONE_MODEL]) for name in (AUTOMATIC, SHUFFLED)}
    return {
        "started_at": datetime.now(UTC).isoformat(timespec="seconds"),
        "machine": machine(),
        "day": shares(questions),
        "questions": len(questions),
        "rounds": options.rounds,
        "time_scale": options.time_scale,
        "baseline": options.baseline,
        "systems": {name: summary(calls, usual) for name, calls in systems.items()},
        "savings": savings,
        "targets": judged(savings[AUTOMATIC]),
        "problems": [f"{name} ({count} times)" for name, count in replay.errors.items()] + _fallbacks(systems),
    }


def _fallbacks(systems: Mapping[str, Sequence[Call]]) -> list[str]:
    """Answers of another model than was chosen: figures would be of something else."""
    counts = {name: sum(call.fallback for call in calls) for name, calls in systems.items()}
    return [f"{name}: {count} answers are of a fallback" for name, count in counts.items() if count]


async def _replay(asker: Asker, questions: Sequence[Question], options: argparse.Namespace, console: Console) -> Replay:
    """The first two systems mixed; the third needs to know which models the first one used."""
    source = random.Random(options.seed)
    models = {AUTOMATIC: "auto", ONE_MODEL: options.baseline}
    first = [
        Ask(system, model, question, number)
        for system, model in models.items()
        for number in range(options.rounds)
        for question in questions
    ]
    asked = 0
    with console.status("asking") as status:

        def done() -> None:
            nonlocal asked
            asked += 1
            status.update(f"asked {asked} of {len(first) * 3 // 2}")

        # Connections, classifiers and pools are made by the first requests; those count nowhere.
        await asker.replay(first[:: max(1, len(first) // 20)], source, lambda: None)
        found = await asker.replay(first, source, done)
        automatic: list[Call] = found.calls.get(AUTOMATIC, [])
        dealt = [Ask(SHUFFLED, model, question, number) for question, number, model in shuffled(automatic, source)]
        last = await asker.replay(dealt, source, done)
    found.calls |= last.calls
    found.errors |= last.errors
    return found


@contextmanager
def _product(options: argparse.Namespace, console: Console) -> Iterator[Stack]:
    if options.url:
        yield Stack(options.url.rstrip("/"), options.key)
        return
    with (
        simulator(profile="day", time_scale=options.time_scale, tokens=ANSWER_TOKENS, seed=options.seed) as providers,
        temporary_home() as home,
        started_stack(
            options.profile,
            home,
            providers.base_url(),
            lambda text: console.print(text, markup=False),
            more=environment(providers),
            curriculum=False,
        ) as stack,
    ):
        yield stack


def environment(providers: SimulatorProcess) -> dict[str, str]:
    """The product's settings: every provider is the simulator, each with a key."""
    addresses = {name: providers.base_url(simulated) for name, simulated in SIMULATED.items()}
    addresses["perplexity"] += "/v1"  # whose paths the simulator has with and without a version
    keys = {f"PENSTOCK_PROVIDER_CALLER__KEYS__{name.upper()}": "simulated-key" for name in SIMULATED}
    return {"PENSTOCK_PROVIDER_CALLER__BASE_URLS": json.dumps(addresses)} | keys


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m load.bench_routing",
        description=__doc__,
        epilog=_EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--url", help="a product that runs already, on this machine")
    parser.add_argument("--key", help="its API key, or - to read it from standard input")
    parser.add_argument("--profile", choices=("local", "inline", "cluster"), default="local", help="default: local")
    parser.add_argument("--day", type=Path, default=DAY, help="questions, {text, operation} a line")
    parser.add_argument("--rounds", type=int, default=3, help="how often each question is asked (default 3)")
    parser.add_argument("--baseline", default=BASELINE, help=f"the one model (default {BASELINE})")
    parser.add_argument("--time-scale", type=float, default=0.25, help="of the providers' clock (default 0.25)")
    parser.add_argument("--connections", type=int, default=8, help="questions at a time (default 8)")
    parser.add_argument("--seed", type=int, default=1, help="of orders and latencies (default 1)")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write everything that was measured")
    parser.add_argument("--plot", type=Path, metavar="FILE", help="write a picture (needs matplotlib)")
    return parser


def _check(parser: argparse.ArgumentParser, options: argparse.Namespace) -> None:
    """Ends the program with exit code 2 where arguments are wrong."""
    if not 1 <= options.rounds <= 100 or not 1 <= options.connections <= 256:
        parser.error("--rounds must be 1 to 100, --connections 1 to 256")
    if not 0.01 <= options.time_scale <= 10:
        parser.error("--time-scale must be 0.01 to 10: below, the product's own time would count too much")
    if options.plot and importlib.util.find_spec("matplotlib") is None:
        parser.error("--plot needs matplotlib: pip install 'penstock[dev]'")
    if bool(options.url) != bool(options.key):
        parser.error("--url and --key go together")
    if options.key == "-":
        options.key = sys.stdin.readline().strip()
    if options.url:
        try:
            loopback_address(options.url)
        except NotLoopbackError as error:
            parser.error(str(error))


def _terminate(number: int, frame: object) -> NoReturn:
    raise KeyboardInterrupt


if __name__ == "__main__":
    sys.exit(main())
