"""Shows a benchmark's figures: tables for the terminal, JSON for files, a plot."""

from pathlib import Path
from typing import Any

import orjson
from rich.console import Console
from rich.table import Table

from load.targets import ABSOLUTE_NOTE

Report = dict[str, Any]


def show(report: Report, console: Console) -> None:
    """Print a table for each profile, the targets and the problems."""
    machine = report["machine"]
    console.print(f"{machine['cpu']}, {machine['cores']} cores, {machine['memory_bytes'] / 2**30:.0f} GiB")
    for name, profile in report["profiles"].items():
        console.print(_profile_table(name, profile))
        if profile["memory"] is not None:
            console.print(_memory_table(name, profile["memory"]))
    if report["targets"]:
        console.print(_target_table(report["targets"]))
    for problem in report["problems"]:
        console.print(f"problem: {problem}", style="red", markup=False, soft_wrap=True)


def write_json(report: Report, file: Path) -> None:
    """The whole report, indented."""
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_bytes(orjson.dumps(report, option=orjson.OPT_INDENT_2) + b"\n")


def write_plot(report: Report, file: Path) -> None:
    """A picture: p50 of each path alone with a line up to its p95, and requests/s under load, by profile.

    The file's ending chooses the format. Raises ImportError without matplotlib.
    """
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    profiles = report["profiles"]
    names = list(dict.fromkeys(path for profile in profiles.values() for path in profile["paths"]))
    figure, (left, right) = pyplot.subplots(1, 2, figsize=(12, 1 + 0.45 * len(names)), sharey=True)
    height = 0.8 / max(1, len(profiles))
    for index, (profile, measured) in enumerate(profiles.items()):
        rows = [row + index * height for row in range(len(names))]
        cells = [measured["paths"].get(name, {}) for name in names]
        alone = [(cell.get("alone") or {}).get("latency_ms") for cell in cells]
        p50 = [latency["p50"] if latency else 0.0 for latency in alone]
        tail = [latency["p95"] - latency["p50"] if latency else 0.0 for latency in alone]
        left.barh(rows, p50, height, xerr=[[0.0] * len(names), tail], label=profile, capsize=2)
        right.barh(rows, [(cell.get("busy") or {}).get("requests_per_second", 0.0) for cell in cells], height)
    left.set_yticks([row + 0.4 - height / 2 for row in range(len(names))], names)
    left.invert_yaxis()
    left.set_xscale("log")
    left.set_xlabel("ms alone: p50, line to p95")
    right.set_xscale("log")
    right.set_xlabel("requests/s under load")
    left.legend()
    figure.tight_layout()
    file.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(file, dpi=120)
    pyplot.close(figure)


def _profile_table(name: str, profile: dict[str, Any]) -> Table:
    ready = profile["ready_seconds"]
    title = f"profile {name}" + (f", ready in {ready:.1f} s" if ready is not None else "")
    table = Table(title=title, title_justify="left")
    table.add_column("path", no_wrap=True)
    for column in (
        "p50 ms",
        "p95",
        "p99",
        "added p50",
        "clients",
        "requests/s",
        "p50 ms",
        "p99",
        "of direct",
        "of bare",
        "errors",
    ):
        table.add_column(column, justify="right")
    for path, loads in profile["paths"].items():
        alone, busy = loads["alone"], loads["busy"]
        one, many = alone["latency_ms"] or {}, busy["latency_ms"] or {}
        errors = sum(alone["errors"].values()) + sum(busy["errors"].values())
        table.add_row(
            path,
            *(_number(one.get(figure), 2) for figure in ("p50", "p95", "p99")),
            _number(alone["added_p50_ms"], 2),
            str(busy["connections"]),
            _number(busy["requests_per_second"], 0),
            *(_number(many.get(figure), 2) for figure in ("p50", "p99")),
            _number(busy["ratio_to_direct"], 3),
            _number(busy["ratio_to_bare"], 2),
            str(errors) if errors else "",
        )
    return table


def _memory_table(name: str, memory: dict[str, Any]) -> Table:
    total = f"{memory['bytes'] / 2**20:,.0f} MiB"
    table = Table(title=f"profile {name}, idle: {total} ({memory['kind']})", title_justify="left")
    table.add_column("process")
    table.add_column("count", justify="right")
    table.add_column("MiB", justify="right")
    for group in memory["groups"]:
        table.add_row(group["name"], str(group["processes"]), f"{group['bytes'] / 2**20:,.0f}")
    return table


def _target_table(targets: list[dict[str, Any]]) -> Table:
    table = Table(title="targets", title_justify="left", caption=ABSOLUTE_NOTE, caption_justify="left")
    for column in ("profile", "what", "wanted", "measured", ""):
        table.add_column(column)
    for target in targets:
        sign = ">=" if target["at_least"] else "<="
        wanted = "" if target["limit"] is None else f"{sign} {target['limit']:,g}"
        met = {True: "met", False: "missed", None: ""}[target["met"]]
        # Not `g`: that writes 1,723.4 requests as 1,723 and 12,345.6 as 1e+04.
        measured = f"{target['measured']:,.{1 if target['measured'] >= 100 else 2}f} {target['unit']}"
        table.add_row(target["profile"], target["name"], wanted, measured, met)
    return table


def _number(value: float | None, digits: int) -> str:
    return "" if value is None else f"{value:,.{digits}f}"
