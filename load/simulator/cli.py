"""The simulator's command line.

    python -m load.simulator --port 0 --profile fast --seed 1

prints one JSON line, `{"url": "http://127.0.0.1:PORT", "pid": PID}` (with `"ports"` after --ports), serves until
SIGTERM or SIGINT, and ends when the process that started it is gone.
"""

import argparse
import asyncio
import gc

import uvloop

from load.simulator.faults import ALL, NAMES, FaultChooser
from load.simulator.generation import Generator
from load.simulator.latency import PROFILES, Latency, LatencyModel
from load.simulator.server import Simulator
from load.simulator.service import Service
from load.simulator.validate import Judge


def main(arguments: list[str] | None = None) -> int:
    """Exit code 0 after a stop, 2 for wrong arguments or a port in use."""
    parser = _parser()
    options = parser.parse_args(arguments)
    if not 0 <= options.port <= 65535 or min(options.tokens, options.latency_ms, options.token_interval_ms) < 0:
        parser.error("ports are 0 to 65535, the other numbers not negative")
    if options.time_scale < 0:
        parser.error("--time-scale must not be negative")
    faults = FaultChooser(options.seed)
    if options.fault:
        try:
            faults.plan(ALL, None, dict(_share(text) for text in options.fault))
        except ValueError as error:
            parser.error(str(error))
    service = Service(
        generator=Generator(options.seed, options.tokens),
        latency=_latency(options),
        faults=faults,
        judge=None if options.no_validate else Judge(lenient=options.lenient),
    )
    # The SDKs' types are a million objects that a collection need not look at again.
    gc.collect()
    gc.freeze()
    try:
        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            runner.run(Simulator(service).serve(options.port, own_ports=options.ports))
    except OSError as error:
        parser.error(f"cannot listen on port {options.port}: {error}")
    return 0


def _latency(options: argparse.Namespace) -> LatencyModel:
    latency = LatencyModel(options.profile, options.time_scale, options.seed)
    if options.latency_ms or options.token_interval_ms:
        seconds = options.latency_ms / 1000
        rate = 1000 / options.token_interval_ms if options.token_interval_ms else 0.0
        latency.set(ALL, Latency(seconds, seconds, rate))
    return latency


def _share(text: str) -> tuple[str, float]:
    name, equals, share = text.partition("=")
    if not equals:
        raise ValueError(f"{text!r} is not NAME=PROBABILITY")
    return name, float(share)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m load.simulator",
        description="A server that stands for OpenAI, Anthropic, Groq, Gemini, Perplexity and a compatible server.",
    )
    parser.add_argument("--port", type=int, default=0, help="0 (default): any free port")
    parser.add_argument("--ports", action="store_true", help="each provider listens on a port of its own as well")
    parser.add_argument("--profile", choices=sorted(PROFILES), default="fast", help="latencies (default fast: none)")
    parser.add_argument("--time-scale", type=float, default=1.0, help="all latencies are multiplied by it (default 1)")
    parser.add_argument("--seed", type=int, default=1, help="of answers, latencies and faults (default 1)")
    parser.add_argument("--tokens", type=int, default=20, help="tokens of each answer (default 20)")
    parser.add_argument("--latency-ms", type=float, default=0.0, help="wait before each first token")
    parser.add_argument("--token-interval-ms", type=float, default=0.0, help="wait between tokens")
    parser.add_argument(
        "--fault", action="append", metavar="NAME=PROBABILITY",
        help="let this share of all calls fail; may be repeated. Faults: " + ", ".join(sorted(NAMES)),
    )  # fmt: skip
    parser.add_argument("--lenient", action="store_true", help="unknown fields of a request are ignored")
    parser.add_argument("--no-validate", action="store_true", help="judge nothing; runs without the SDKs")
    return parser
