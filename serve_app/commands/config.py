"""`penstock config check` and `penstock config show`."""

import re
from typing import Any

import typer
from pydantic import BaseModel, SecretStr

from deployments.settings import ALIASES, Settings
from kit.settings import keys, variable_of
from serve_app.commands.common import OUT, JsonOption, print_json, readable_errors, settings
from serve_app.profiles import load_profile

app = typer.Typer(help="Check and show the settings.", no_args_is_help=True)

MASK = "********"
CREDENTIALS = re.compile(r"//[^/@\s]+@")


@app.command()
def check(json: JsonOption = False) -> None:
    """Validate all settings; lists everything that is wrong at once and exits with 2.

    Example: ENVIRONMENT=production penstock config check
    """
    with readable_errors():
        loaded = settings()
        load_profile(loaded.server.profile)
    if json:
        print_json(ok=True, environment=loaded.environment)
    else:
        OUT.print(f"The settings of environment [bold]{loaded.environment}[/] are valid.", highlight=False)


@app.command()
def show(json: JsonOption = False) -> None:
    """Show every setting with its effective value; secrets are masked.

    Example: penstock config show --json
    """
    with readable_errors():
        loaded = settings()
    values = {key: shown(value_of(loaded, key)) for key, _ in keys(Settings)}
    if json:
        print_json(**values)
        return
    names = {key: name for name, key in ALIASES.items()}
    rows = [(key, str(value), names.get(key, variable_of(key))) for key, value in values.items()]
    widths = [max(len(row[column]) for row in rows) for column in (0, 1)]
    for key, value, variable in rows:
        # One line each, however narrow the terminal: these lines are searched and copied.
        line = f"{key:<{widths[0]}}  {value:<{widths[1]}}  {variable}"
        OUT.print(line, highlight=False, markup=False, soft_wrap=True)


def value_of(section: BaseModel, key: str) -> Any:
    """The value of a dotted key."""
    value: Any = section
    for part in key.split("."):
        value = getattr(value, part)
    return value


def shown(value: Any) -> Any:
    """A value as it may be seen: secrets and passwords in URLs masked, paths as text."""
    if isinstance(value, SecretStr):
        return MASK
    if isinstance(value, BaseModel):
        return {key: shown(item) for key, item in value}
    if isinstance(value, dict):
        return {key: shown(item) for key, item in value.items()}
    if isinstance(value, list):
        return [shown(item) for item in value]
    if value is None or isinstance(value, bool | int | float):
        return value
    return CREDENTIALS.sub(f"//{MASK}@", str(value))
