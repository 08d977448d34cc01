"""The numbers that the product is held to, looked up in what was measured."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

Profile = dict[str, Any]
"""`{"memory": ..., "paths": Measurements}` of one serve profile."""

GIB = 1024**3


@dataclass(frozen=True, slots=True)
class Target:
    """`find` gives the measured value, None where the run has none. `profiles`: those that it holds for. `limit` None:
    shown beside the others, and neither met nor missed."""

    name: str
    unit: str
    limit: float | None
    at_least: bool
    profiles: tuple[str, ...]
    find: Callable[[Profile], float | None]

    def judged(self, profile: str, measured: Profile) -> dict[str, Any] | None:
        """`{"profile", "name", "unit", "limit", "at_least", "measured", "met"}`; None where it does not apply."""
        value = self.find(measured) if profile in self.profiles else None
        if value is None:
            return None
        return {
            "profile": profile,
            "name": self.name,
            "unit": self.unit,
            "limit": self.limit,
            "at_least": self.at_least,
            "measured": round(value, 3),
            "met": self._met(value),
        }

    def _met(self, value: float) -> bool | None:
        if self.limit is None:
            return None
        return value >= self.limit if self.at_least else value <= self.limit


def judged(profiles: dict[str, Profile]) -> list[dict[str, Any]]:
    """Every target that the run says something about."""
    verdicts = (target.judged(name, measured) for name, measured in profiles.items() for target in TARGETS)
    return [verdict for verdict in verdicts if verdict is not None]


def _cell(profile: Profile, path: str, load: str) -> dict[str, Any]:
    """What was measured there; nothing where some requests failed, for then the figure is of something else."""
    cell: dict[str, Any] = profile["paths"].get(path, {}).get(load, {})
    return {} if cell.get("errors") else cell


def _latency(profile: Profile, path: str, load: str, figure: str) -> float | None:
    latency = _cell(profile, path, load).get("latency_ms")
    return None if latency is None else float(latency[figure])


def _throughput_ratio(profile: Profile, path: str, bare: str) -> float | None:
    mine = _cell(profile, path, "busy").get("requests_per_second")
    other = _cell(profile, bare, "busy").get("requests_per_second")
    return mine / other if mine is not None and other else None


def _added_over_bare(profile: Profile) -> float | None:
    added, bare = _cell(profile, "chat", "alone").get("added_p50_ms"), _latency(profile, "bare-1", "alone", "p50")
    return added / bare if added is not None and bare else None


def _auto_adds(profile: Profile) -> float | None:
    auto, explicit = _latency(profile, "auto", "alone", "p50"), _latency(profile, "chat", "alone", "p50")
    return None if auto is None or explicit is None else auto - explicit


def _idle_gib(profile: Profile) -> float | None:
    memory = profile.get("memory")
    return None if memory is None else memory["bytes"] / GIB


BOTH = ("local", "inline")

ABSOLUTE_NOTE = (
    "Times and rates were set on the machine of docs/decisions/0001, where bare Ray Serve with one hop takes 1.25 ms "
    "and answers 1,412 requests/s. The ratios to the bare application carry them over to other machines: "
    "700 / 1,412 and 2.5 / 1.25."
)

TARGETS = (
    Target(
        "explicit chat adds, p50 alone",
        "ms",
        2.5,
        False,
        ("local",),
        lambda p: _cell(p, "chat", "alone").get("added_p50_ms"),
    ),
    Target("explicit chat adds / bare one hop, p50 alone", "x", 2.0, False, ("local",), _added_over_bare),
    Target(
        "explicit chat, 32 connections",
        "requests/s",
        700,
        True,
        ("local",),
        lambda p: _cell(p, "chat", "busy").get("requests_per_second"),
    ),
    Target(
        "explicit chat / bare one hop, 32 connections",
        "x",
        0.5,
        True,
        ("local",),
        lambda p: _throughput_ratio(p, "chat", "bare-1"),
    ),
    Target(
        "liveness, 32 connections",
        "requests/s",
        None,
        True,
        BOTH,
        lambda p: _cell(p, "noop", "busy").get("requests_per_second"),
    ),
    Target(
        "liveness / bare no hop, 32 connections",
        "x",
        None,
        True,
        BOTH,
        lambda p: _throughput_ratio(p, "noop", "bare-0"),
    ),
    Target("auto adds to explicit, p50 alone", "ms", 10, False, BOTH, _auto_adds),
    Target("RAG, local provider, p95 alone", "ms", 150, False, BOTH, lambda p: _latency(p, "grounded", "alone", "p95")),
    Target(
        "one embedding over HTTP, p50 alone", "ms", 3, False, BOTH, lambda p: _latency(p, "embeddings", "alone", "p50")
    ),
    Target("whole stack, idle", "GiB", 3.5, False, BOTH, _idle_gib),
)
