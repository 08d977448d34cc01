"""`penstock keys rotate`."""

import asyncio
from dataclasses import dataclass
from typing import TYPE_CHECKING

import typer
from rich.markup import escape

from deployments.settings import Settings
from kit.crypto import FileKeys
from serve_app.commands.common import ERR, OUT, JsonOption, home_of, print_json, readable_errors, settings

if TYPE_CHECKING:
    from deployments.provider_caller.credential_table import Rotation

app = typer.Typer(help="The keys under which secrets lie encrypted.", no_args_is_help=True)


@dataclass(frozen=True, slots=True)
class Outcome:
    """added: whether a new key was made; not so where an interrupted rotation was finished, and for keys of the
    environment."""

    key_id: str
    added: bool
    rotation: "Rotation"


@app.callback()
def keys() -> None:
    """Keep `rotate` a subcommand while it is the only one."""


@app.command()
def rotate(json: JsonOption = False) -> None:
    """Make a new encryption key and bring every stored secret under it, while the platform runs.

    With PENSTOCK_ENCRYPTION__KEYS no key is made: put a new one first there, restart, then call this. Safe to interrupt
    and to repeat. Exit code 1 when a secret does not open.

    Example: penstock keys rotate
    """
    with readable_errors():
        outcome = asyncio.run(_rotate(settings()))
    rotation = outcome.rotation
    if json:
        failed = [{"tenant": tenant, "provider": provider, "reason": why} for tenant, provider, why in rotation.failed]
        print_json(key=outcome.key_id, added=outcome.added, rewrapped=rotation.rewrapped, failed=failed)
    else:
        made = "a new key" if outcome.added else "the current key"
        OUT.print(f"{rotation.rewrapped} secrets brought under {made}, {outcome.key_id}.", highlight=False)
        for tenant, provider, why in rotation.failed:
            line = f"The key of tenant {tenant} for {provider} does not open: {why} It must be set again."
            ERR.print(escape(line), highlight=False, soft_wrap=True)
    raise typer.Exit(1 if rotation.failed else 0)


async def _rotate(loaded: Settings) -> Outcome:
    from deployments.provider_caller.credential_table import CredentialTable
    from kit.postgres import Databases

    held = loaded.encryption.provider(home_of(loaded))
    databases = Databases(_database_url(loaded), 1)
    table = CredentialTable(databases, held)
    try:
        rotation = await table.rewrap_all()
        # What was left under an old key is from a rotation that was interrupted: it is finished, with the key it made.
        added = isinstance(held, FileKeys) and not rotation.rewrapped
        if isinstance(held, FileKeys) and added:
            held.add()
            rotation = await table.rewrap_all()
        return Outcome(held.current().id, added, rotation)
    finally:
        await databases.close()


def _database_url(loaded: Settings) -> str:
    """The control database: the operator's own, or that of the platform which runs in this home."""
    from kit.postgres import with_default_database
    from serve_app.embedded.home import open_home
    from serve_app.embedded.services import CONTROL_DATABASE, read_service_urls

    if loaded.database.url is not None:
        return with_default_database(loaded.database.url.get_secret_value(), CONTROL_DATABASE)
    return read_service_urls(open_home(home_of(loaded))).database_url
