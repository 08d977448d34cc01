"""What all commands share: settings, the home, output, and errors that say what to do next.

Exit codes: 0 done; 1 it was tried and failed; 2 something must be changed first (settings, a missing program, a
platform that does not run); 130 interrupted.
"""

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Any

import orjson
import typer
from rich.console import Console
from rich.markup import escape

from deployments.settings import Settings, load_settings
from kit.errors import PenstockError, SetupError, full_disk

OUT = Console()
ERR = Console(stderr=True)

JsonOption = Annotated[bool, typer.Option("--json", help="Print JSON instead of text.")]


@contextmanager
def readable_errors() -> Iterator[None]:
    """Turn what a user can mend into one clear message and the right exit code."""
    try:
        yield
    except BaseExceptionGroup as group:
        # Steps that run together fail together; the first error is the one to mend.
        with readable_errors():
            raise _first(group) from None
    except PenstockError as error:
        ERR.print(f"[bold red]Error:[/] {escape(error.message)}", highlight=False, soft_wrap=True)
        raise typer.Exit(2 if isinstance(error, SetupError) else 1) from None
    except OSError as error:
        if (full := full_disk(error)) is None:
            raise
        with readable_errors():
            raise full from None
    except KeyboardInterrupt:
        raise typer.Exit(130) from None


def _first(group: BaseExceptionGroup[BaseException]) -> BaseException:
    first = group.exceptions[0]
    return _first(first) if isinstance(first, BaseExceptionGroup) else first


def settings(**overrides: Any) -> Settings:
    """The settings of this command; `overrides` are dotted keys with __, as options gave them."""
    import os

    given = {f"PENSTOCK_{key.upper()}": str(value) for key, value in overrides.items() if value is not None}
    return load_settings(dict(os.environ) | given)


def home_of(loaded: Settings) -> Path:
    """Where the local state is."""
    return loaded.home.expanduser().absolute()


def print_json(**content: Any) -> None:
    """One JSON object on a line."""
    sys.stdout.write(orjson.dumps(content, default=str).decode() + "\n")
    sys.stdout.flush()
