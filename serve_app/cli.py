"""The command `penstock`.

Commands import what is slow to import (servers, HTTP clients, migrations) when they run: `penstock key` and `--help`
answer at once.
"""

import typer

from serve_app.commands import ask, config, doctor, eval, ingest, keys, up

app = typer.Typer(
    help="Penstock: a distributed AI serving cluster. Start with `penstock up`.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_show_locals=False,
    rich_markup_mode=None,
)
app.command()(up.up)
app.command()(up.down)
app.command()(up.status)
app.command()(up.key)
app.command()(ingest.ingest)
app.command()(ask.ask)
app.command()(doctor.doctor)
app.add_typer(config.app, name="config")
app.add_typer(eval.app, name="eval")
app.add_typer(keys.app, name="keys")


def main() -> None:
    """Entry point."""
    app()


if __name__ == "__main__":
    main()
