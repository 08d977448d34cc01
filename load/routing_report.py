"""Shows what routing saved: tables for the terminal, JSON for files, a plot."""

from pathlib import Path
from typing import Any

import orjson
from rich.console import Console
from rich.table import Table

Report = dict[str, Any]


def show(report: Report, console: Console) -> None:
    """Print the day, a row for each system, the savings and the problems."""
    day = ", ".join(f"{operation} {share:.0%}" for operation, share in report["day"].items())
    console.print(f"{report['questions']} questions, {report['rounds']} times: {day}", markup=False)
    console.print(_systems(report))
    console.print(_savings(report))
    for target in report["targets"]:
        verdict = "met" if target["met"] else "missed"
        console.print(f"{target['name']}: {_percent(target['measured'])} of {target['at_least']:.0%} wanted: {verdict}")
    for problem in report["problems"]:
        console.print(f"problem: {problem}", style="red", markup=False, soft_wrap=True)


def write_json(report: Report, file: Path) -> None:
    """The whole report, indented."""
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_bytes(orjson.dumps(report, option=orjson.OPT_INDENT_2) + b"\n")


def write_plot(report: Report, file: Path) -> None:
    """A picture: mean latency with p50 and p95, and cost, by system. Raises ImportError without matplotlib."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    names = list(report["systems"])
    figures = [report["systems"][name] for name in names]
    figure, (left, right) = pyplot.subplots(1, 2, figsize=(10, 1.5 + 0.6 * len(names)), sharey=True)
    left.barh(names, [one["seconds"]["mean"] for one in figures], color="tab:blue")
    for quantile, mark in (("p50", "|"), ("p95", ">")):
        left.plot([one["seconds"][quantile] for one in figures], names, mark, color="black", label=quantile)
    left.set_xlabel("seconds: bar is the mean")
    left.legend()
    left.invert_yaxis()
    right.barh(names, [one["cost_usd"] for one in figures], color="tab:green")
    right.set_xlabel("dollars, at list prices")
    figure.tight_layout()
    file.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(file, dpi=120)
    pyplot.close(figure)


def _systems(report: Report) -> Table:
    table = Table(title="the day", title_justify="left")
    table.add_column("system")
    for column in ("calls", "mean s", "p50", "p95", "dollars", "unpriced", "suited"):
        table.add_column(column, justify="right")
    table.add_column("models")
    for name, one in report["systems"].items():
        seconds = one["seconds"]
        table.add_row(
            name,
            str(one["calls"]),
            *(f"{seconds[figure]:.2f}" for figure in ("mean", "p50", "p95")),
            f"{one['cost_usd']:.4f}",
            str(one["unpriced"]) if one["unpriced"] else "",
            f"{one['suited']:.0%}",
            ", ".join(f"{model} {count}" for model, count in one["models"].items()),
        )
    return table


def _savings(report: Report) -> Table:
    table = Table(title=f"saved against {report['baseline']}, with 95 % interval", title_justify="left")
    table.add_column("system")
    table.add_column("mean latency", justify="right")
    table.add_column("cost", justify="right")
    for name, saved in report["savings"].items():
        table.add_row(name, *(_saved(saved[figure]) for figure in ("latency", "cost")))
    return table


def _saved(figure: dict[str, Any]) -> str:
    if figure["value"] is None:
        return "unknown"
    return f"{figure['value']:.1%} ({figure['low']:.1%} to {figure['high']:.1%})"


def _percent(value: float | None) -> str:
    return "unknown" if value is None else f"{value:.1%}"
