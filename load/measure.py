"""Measures every path of one running product: alone, and under load, in rounds so that paths meet the same machine."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from load.bare_serve import BareServe
from load.client import LoadGenerator, summary
from load.load_run import LoadResult, LoadSpec
from load.paths import BenchPath
from load.simulator.process import SimulatorProcess
from load.stack import Stack

WARM_UP_SECONDS = 0.5
SAMPLE_CHARACTERS = 400

Progress = Callable[[str], None]
Measurements = dict[str, dict[str, dict[str, Any]]]
"""By path, then by load (`alone`, `busy`): the fields of `load.client.summary` and those that `_described` adds."""


@dataclass(frozen=True, slots=True)
class Plan:
    """`seconds`: of each measurement, all its rounds together."""

    paths: tuple[BenchPath, ...]
    seconds: float = 5.0
    rounds: int = 2

    def loads(self, path: BenchPath) -> tuple[tuple[str, int], ...]:
        """The loads of a path and their connections."""
        return (("alone", 1), ("busy", path.busy_connections))


@dataclass(frozen=True, slots=True)
class Servers:
    """What is measured; None: there is none, and its paths are left out."""

    stack: Stack
    simulator: SimulatorProcess | None = None
    bare: BareServe | None = None

    def url(self, path: BenchPath) -> str | None:
        """Of the server that a path goes to, without the path; None where there is none."""
        servers = {"product": self.stack, "simulator": self.simulator, "bare": self.bare}
        server = servers[path.server]
        return None if server is None else server.url


@dataclass(slots=True)
class _Cell:
    """The rounds of one measurement so far, and how many of its requests the simulator saw."""

    connections: int
    result: LoadResult
    reached: int | None


def measure(plan: Plan, servers: Servers, generator: LoadGenerator, progress: Progress) -> Measurements:
    """Run the plan, without the paths that have no server.

    In each round every path is measured once at each load, a path right after the direct one that it is compared
    with: what the machine does besides hits both.
    """
    simulator = servers.simulator
    paths = [path for path in plan.paths if servers.url(path) is not None]
    cells: dict[tuple[str, str], _Cell] = {}
    for path in paths:
        progress(f"{path.name}: warming up")
        generator.run(_spec(path, servers, path.busy_connections, WARM_UP_SECONDS))
    for number in range(plan.rounds):
        for load in (0, 1):
            for path in paths:
                name, connections = plan.loads(path)[load]
                progress(f"round {number + 1} of {plan.rounds}: {path.name}, {name}")
                cell = cells.setdefault((path.name, name), _Cell(connections, LoadResult(), None))
                before = simulator.counts()["chat"] if simulator is not None else 0
                spec = _spec(path, servers, connections, plan.seconds / plan.rounds)
                cell.result = cell.result + generator.run(spec)
                if simulator is not None:
                    cell.reached = (cell.reached or 0) + simulator.counts()["chat"] - before
    return _described(paths, cells)


def problems(measurements: Measurements, paths: Sequence[BenchPath]) -> list[str]:
    """What makes a figure untrue: errors, and requests that reached the simulator or not, against what it is for."""
    found = []
    by_name = {path.name: path for path in paths}
    for name, loads in measurements.items():
        for load, cell in loads.items():
            for error, count in cell["errors"].items():
                found.append(f"{name}, {load}: {count} x {error}: {cell['error_sample'][:200] or '(no body)'}")
            reached = cell["upstream_requests"]
            upstream = by_name[name].upstream
            if upstream and reached is not None and reached < cell["requests"]:
                found.append(f"{name}, {load}: only {reached} of {cell['requests']} requests reached the simulator")
            if upstream is False and reached:
                found.append(f"{name}, {load}: {reached} requests reached the simulator, which should have had none")
            if not cell["requests"] and not cell["errors"]:
                found.append(f"{name}, {load}: nothing was answered in time")
    return found


def _spec(path: BenchPath, servers: Servers, connections: int, seconds: float) -> LoadSpec:
    key = servers.stack.key if path.server == "product" else "simulator"
    # The same headers everywhere: a direct request differs in nothing but where it goes.
    return LoadSpec(
        url=f"{servers.url(path)}{path.target}",
        method=path.method,
        bodies=path.bodies,
        headers={"Authorization": f"Bearer {key}"},
        stream=path.stream,
        connections=connections,
        seconds=seconds,
    )


def _described(paths: Sequence[BenchPath], cells: dict[tuple[str, str], _Cell]) -> Measurements:
    measurements: Measurements = {}
    for path in paths:
        for load in ("alone", "busy"):
            cell = cells[path.name, load]
            measurements.setdefault(path.name, {})[load] = {
                "connections": cell.connections,
                **summary(cell.result),
                "sample": cell.result.sample[:SAMPLE_CHARACTERS],
                "upstream_requests": cell.reached,
                "added_p50_ms": None,
                "ratio_to_direct": None,
                "ratio_to_bare": None,
            }
    for path in paths:
        for load in ("alone", "busy"):
            figures = measurements[path.name][load]
            if path.baseline in measurements:
                _compare(figures, measurements[path.baseline][load])
            if path.bare in measurements:
                figures["ratio_to_bare"] = _throughput_ratio(figures, measurements[path.bare][load])
    return measurements


def _compare(cell: dict[str, Any], baseline: dict[str, Any]) -> None:
    if cell["latency_ms"] is not None and baseline["latency_ms"] is not None:
        cell["added_p50_ms"] = round(cell["latency_ms"]["p50"] - baseline["latency_ms"]["p50"], 3)
    cell["ratio_to_direct"] = _throughput_ratio(cell, baseline)


def _throughput_ratio(cell: dict[str, Any], other: dict[str, Any]) -> float | None:
    if not other["requests_per_second"]:
        return None
    return round(float(cell["requests_per_second"] / other["requests_per_second"]), 4)
