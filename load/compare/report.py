"""Shows a comparison: a table, the ratios that were promised, JSON, a plot."""

from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from load.compare.measure import LOADS

Report = dict[str, Any]

PLAIN_ALONE, PLAIN, STREAM_ALONE, STREAM = (load.name for load in LOADS)

RATIOS = (
    ("local", "requests/s", "penstock local", "litellm", PLAIN, "rate", 4.5, 8.0),
    ("local", "added p50", "penstock local", "litellm", PLAIN_ALONE, "added", 0.45, None),
    ("local", "streams/s", "penstock local", "litellm", STREAM, "rate", 12.0, 25.0),
    ("inline", "requests/s", "penstock inline", "portkey", PLAIN, "rate", 1.0, 1.5),
    ("inline", "added p50", "penstock inline", "portkey", PLAIN_ALONE, "added", 1.2, None),
    ("inline", "streams/s", "penstock inline", "litellm", STREAM, "rate", 12.0, 25.0),
)
"""(profile, what, gateway, peer, load, kind, floor, aim): `rate` at least so many times the peer's, `added` at most."""


def judged(figures: dict[str, Any]) -> list[dict[str, Any]]:
    """Each ratio that can be formed, with its floor and whether it is met."""
    found = []
    for profile, what, name, peer, load, kind, floor, aim in RATIOS:
        if name not in figures or peer not in figures:
            continue
        ours, theirs = (_value(figures[each][load], kind) for each in (name, peer))
        if ours is None or not theirs:
            continue
        ratio = ours / theirs
        met = ratio >= floor if kind == "rate" else ratio <= floor
        found.append(
            {
                "profile": profile,
                "what": f"{what}, {load}",
                "peer": peer,
                "ratio": round(ratio, 3),
                "floor": floor,
                "aim": aim,
                "at_least": kind == "rate",
                "met": met,
            }
        )
    return found


def show(report: Report, console: Console) -> None:
    """Print everything."""
    machine = report["machine"]
    console.print(f"{machine['cpu']}, {machine['cores']} cores, {machine['memory_bytes'] / 2**30:.0f} GiB")
    for load in LOADS:
        console.print(_load_table(report, load.name))
    table = Table(title="ratios", title_justify="left")
    for column in ("profile", "what", "beside", "ratio", "floor", "aim", ""):
        table.add_column(column, justify="right" if column in ("ratio", "floor", "aim") else "left")
    for ratio in report["ratios"]:
        sign = ">=" if ratio["at_least"] else "<="
        table.add_row(
            ratio["profile"],
            ratio["what"],
            ratio["peer"],
            f"{ratio['ratio']:.2f}",
            f"{sign} {ratio['floor']:g}",
            f"{sign} {ratio['aim']:g}" if ratio["aim"] else "",
            "met" if ratio["met"] else "missed",
        )
    console.print(table)
    for name, features in report["features"].items():
        console.print(f"{name}: {features}", style="dim", markup=False)
    for problem in report["problems"]:
        console.print(f"problem: {problem}", style="red", markup=False, soft_wrap=True)


def write_plot(report: Report, file: Path) -> None:
    """A picture: added p50 alone and requests/s under load, plain and streaming. Raises ImportError without
    matplotlib."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    names = [name for name in report["figures"] if name != "direct"]
    figure, axes = pyplot.subplots(2, 2, figsize=(12, 1.5 + 0.9 * len(names)))
    panels = (
        (axes[0][0], PLAIN_ALONE, "added", "ms added to p50, plain, alone (less is better)"),
        (axes[0][1], PLAIN, "rate", "requests/s, plain, 32 connections"),
        (axes[1][0], STREAM_ALONE, "added", "ms added to p50, whole stream, alone (less is better)"),
        (axes[1][1], STREAM, "rate", "streams/s, 31 events, 16 connections"),
    )
    colours = ["#1f6f8b" if name.startswith("penstock") else "#b0b0b0" for name in names]
    for axis, load, kind, title in panels:
        values = [_value(report["figures"][name][load], kind) for name in names]
        bars = axis.barh(names, [value or 0.0 for value in values], color=colours)
        axis.bar_label(bars, [_label(value, kind) for value in values], padding=3)
        axis.set_title(title, fontsize=10)
        axis.invert_yaxis()
        axis.margins(x=0.18)
        axis.spines[["top", "right"]].set_visible(False)
    figure.tight_layout()
    file.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(file, dpi=120)
    pyplot.close(figure)


def _load_table(report: Report, load: str) -> Table:
    table = Table(title=load, title_justify="left")
    table.add_column("gateway", no_wrap=True)
    for column in ("requests/s", "p50 ms", "p95", "p99", "added p50", "added p99", "errors"):
        table.add_column(column, justify="right")
    for name, cells in report["figures"].items():
        cell = cells[load]
        latency, added = cell["latency_ms"] or {}, cell["added_ms"] or {}
        table.add_row(
            name,
            f"{cell['requests_per_second']:,.0f}",
            *(_number(latency.get(p)) for p in ("p50", "p95", "p99")),
            *(_number(added.get(p)) if name != "direct" else "" for p in ("p50", "p99")),
            ", ".join(f"{count} {kind}" for kind, count in cell["errors"].items()),
        )
    return table


def _value(cell: dict[str, Any], kind: str) -> float | None:
    if kind == "rate":
        return float(cell["requests_per_second"]) or None
    return None if cell["added_ms"] is None else float(cell["added_ms"]["p50"])


def _label(value: float | None, kind: str) -> str:
    if value is None:
        return "answered with errors"
    return f"{value:,.2f}" if kind == "added" else f"{value:,.0f}"


def _number(value: float | None) -> str:
    return "" if value is None else f"{value:,.2f}"
