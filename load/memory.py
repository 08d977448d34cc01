"""What a whole stack holds in memory: every process of one PENSTOCK_HOME, pages shared between them counted once."""

import os
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import psutil


def processes_of(home: Path) -> list[psutil.Process]:
    """The processes that belong to a PENSTOCK_HOME; this one and those that started it do not.

    Found by the variable in their environment, by the folder in their command line or as their working folder
    (Postgres and Redis overwrite their environment with their title), and by descent from such a process.
    """
    resolved = home.resolve()
    homes = {str(home), str(resolved)}
    # A shell that was given the folder as an argument, say.
    ours = {os.getpid(), *(parent.pid for parent in psutil.Process().parents())}
    marked = [process for process in psutil.process_iter() if process.pid not in ours and _belongs(process, homes)]
    found = {process.pid: process for process in marked}
    for process in marked:
        try:
            found |= {child.pid: child for child in process.children(recursive=True)}
        except psutil.Error:
            continue
    return list(found.values())


def memory_of(processes: Iterable[psutil.Process]) -> dict[str, Any]:
    """Their memory: `{"kind": "pss" | "rss", "bytes", "processes", "groups": [{"name", "processes", "bytes"}]}`.

    Proportional set size, so that a page which n processes share counts 1/n for each; resident set size (`rss`, which
    counts it n times) where one of them does not let us read it.
    """
    sizes: list[tuple[str, int, int | None]] = []
    for process in processes:
        try:
            sizes.append((_title(process), process.memory_info().rss, _pss(process.pid)))
        except psutil.Error:
            continue
    kind = "pss" if all(pss is not None for _, _, pss in sizes) else "rss"
    groups: dict[str, dict[str, Any]] = {}
    for title, rss, pss in sizes:
        group = groups.setdefault(title, {"name": title, "processes": 0, "bytes": 0})
        group["processes"] += 1
        group["bytes"] += rss if pss is None or kind == "rss" else pss
    ordered = sorted(groups.values(), key=lambda group: -group["bytes"])
    return {"kind": kind, "bytes": sum(g["bytes"] for g in ordered), "processes": len(sizes), "groups": ordered}


def _belongs(process: psutil.Process, homes: set[str]) -> bool:
    def inside(text: str) -> bool:
        return any(text == home or f"{home}/" in text or text.endswith(f"={home}") for home in homes)

    try:
        if any(inside(word) for word in process.cmdline()) or inside(process.cwd()):
            return True
        return process.environ().get("PENSTOCK_HOME") in homes
    except (psutil.Error, OSError):
        return False


def _pss(pid: int) -> int | None:
    try:
        lines = Path(f"/proc/{pid}/smaps_rollup").read_text("ascii").splitlines()
    except OSError:
        return None
    return next((int(line.split()[1]) * 1024 for line in lines if line.startswith("Pss:")), None)


def _title(process: psutil.Process) -> str:
    words = [word for word in process.cmdline() if word] or [process.name()]
    name = Path(words[0].split(" ")[0]).name if not words[0].startswith("ray::") else words[0].split(" ")[0]
    if name.startswith("postgres"):
        return "postgres"
    if name.startswith("python"):
        script = next((word for word in words[1:] if not word.startswith("-")), "")
        return f"python {Path(script).name}".strip()
    return name.rstrip(":")
