"""Shows the steps of a long command: a spinner and seconds for the present one, a tick for each that is done."""

import time
from types import TracebackType

from rich.console import Console
from rich.live import Live
from rich.markup import escape
from rich.spinner import Spinner
from rich.table import Table
from rich.text import Text

from serve_app.commands.common import print_json

LABELS = {
    "model": "Embedding model",
    "services": "Postgres and Redis",
    "ray": "Ray",
    "graph": "Seven stages",
    "samples": "Sample lessons",
}


class Steps:
    """Use as a context manager around the work; call `report(step, doing)` as it goes."""

    def __init__(self, console: Console, *, as_json: bool) -> None:
        self._console = console
        self._as_json = as_json
        self._live: Live | None = None
        self._step = ""
        self._doing = ""
        self._started = time.monotonic()

    def __enter__(self) -> "Steps":
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.finish(ok=error is None)

    def report(self, step: str, doing: str) -> None:
        """Show what is being done; one that is not in LABELS is a note within the present one."""
        if self._as_json:
            print_json(event="step", step=step, doing=doing)
            return
        if step in LABELS and step != self._step:
            self.finish(ok=True)
            self._step, self._started = step, time.monotonic()
            if step != "model" and self._console.is_terminal:  # the model's export draws a bar of its own
                self._live = Live(
                    get_renderable=self._line, console=self._console, refresh_per_second=10, transient=True
                )
                self._live.start()
        self._doing = doing if step in LABELS else self._doing
        if step not in LABELS:
            self._console.print(f"  [yellow]![/] {escape(doing)}", highlight=False)

    def finish(self, *, ok: bool) -> None:
        """Close the present step."""
        if self._live is not None:
            self._live.stop()
            self._live = None
        if self._step and not self._as_json:
            mark = "[green]✓[/]" if ok else "[red]✗[/]"
            seconds = time.monotonic() - self._started
            self._console.print(f"  {mark} {LABELS[self._step]:<20} [dim]{seconds:5.1f} s[/]", highlight=False)
        self._step = ""

    def _line(self) -> Table:
        line = Table.grid(padding=(0, 1))
        seconds = time.monotonic() - self._started
        doing = Text(f"{self._doing}  {seconds:.0f} s", style="dim")
        line.add_row(" ", Spinner("dots"), f"{LABELS[self._step]:<20}", doing)
        return line
