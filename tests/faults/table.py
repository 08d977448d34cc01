"""The fault table of docs/api/faults.md, made from what the cases came to."""

from collections.abc import Mapping

from tests.faults.cases import SURFACES, Case, Result
from tests.faults.clients import Seen

Outcomes = Mapping[Case, tuple[Result, Seen]]

FAULTS: dict[str, str] = {
    "429": "429 without `Retry-After`",
    "429_retry_after": "429 with `Retry-After`",
    "429_quota": "429, the account is spent",
    "500": "500",
    "503": "503",
    "529": "529",
    "bad key": "401, the key is wrong",
    "context_length": "400, the prompt is too long",
    "bad_tool_schema": "400, a tool that it cannot take",
    "unknown_model": "404, it does not have the model",
    "closed port": "no connection",
    "refuse": "the connection is reset",
    "html": "a proxy's page with 502",
    "empty": "200 without a body",
    "error_200": "200 with an error in it",
    "stall_before": "silence before the head",
    "stall_first": "silence before the first token",
    "slow_bytes": "one byte a second",
    "stall_mid": "silence after three tokens",
    "cut_mid_event": "cut inside an event",
    "cut_clean": "ended in order, too early",
    "garbled": "an event that is not JSON",
    "error_mid": "an error after three tokens",
    "missing_done": "all but the last event",
    "duplicate_usage": "the usage twice",
}
"""What the provider does, by the simulator's name or that of a set-up; in the order of the page."""
COLUMNS = ((False, False), (False, True), (True, False), (True, True))
"""stream, fallback."""


def render(outcomes: Outcomes) -> str:
    """Markdown."""
    return "\n".join([*_charges(outcomes), *(line for surface in SURFACES for line in _surface(surface, outcomes))])


def _surface(surface: str, outcomes: Outcomes) -> list[str]:
    lines = [
        "",
        f"## {surface.capitalize()}",
        "",
        "| the provider | whole | whole, with a fallback | stream | stream, with a fallback |",
        "|---|---|---|---|---|",
    ]
    for fault, words in FAULTS.items():
        cells = [_cell(fault, surface, stream, fallback, outcomes) for stream, fallback in COLUMNS]
        lines.append(f"| {words} | {' | '.join(cells)} |")
    return lines


def _cell(fault: str, surface: str, stream: bool, fallback: bool, outcomes: Outcomes) -> str:
    native, translated = (
        _outcome(*outcomes[Case(fault, surface, stream, native, fallback)])  # type: ignore[arg-type]
        for native in (True, False)
    )
    return native if native == translated else f"{native}; translated: {translated}"


def _outcome(result: Result, seen: Seen) -> str:
    if result.status != 200:
        return f"{result.status} `{seen.error}`"
    if seen.error is not None:
        return f"error event, `{seen.error}`"
    return "answer" if result.headers["x-penstock-provider"] == result.case.provider else "the fallback answers"


def _charges(outcomes: Outcomes) -> list[str]:
    lines = ["## What the attempt is charged", "", "| the provider | whole | stream |", "|---|---|---|"]
    for fault, words in FAULTS.items():
        cells = []
        for stream in (False, True):
            found = {
                _charge(result)
                for case, (result, _) in outcomes.items()
                if (case.fault, case.stream, case.fallback) == (fault, stream, False)
            }
            cells.append(", or ".join(sorted(found)))
        lines.append(f"| {words} | {' | '.join(cells)} |")
    return lines


def _charge(result: Result) -> str:
    row = result.rows[0]
    words = {(False, False): "nothing", (True, False): "its prompt", (True, True): "its prompt and what came"}
    charged = words[row["input_tokens"] > 0, row["output_tokens"] > 0]
    return f"{'all' if row['outcome'] == 'ok' else charged} (`{row['outcome']}`)"


def table_of(page: str, heading: str = "## What the attempt is charged") -> str:
    """The part of the page that the tests write."""
    return page[page.index(heading) :].strip()
