"""`penstock up`, `down`, `status`, `key`."""

import asyncio
import os
import shlex
import signal
import subprocess
import sys
import time
from typing import TYPE_CHECKING, Annotated, Literal

import orjson
import typer
from rich.console import Console
from rich.markup import escape

from deployments.settings import Settings
from kit.errors import PenstockError, SetupError
from serve_app.commands.common import ERR, OUT, JsonOption, home_of, print_json, readable_errors, settings
from serve_app.commands.steps import Steps
from serve_app.embedded.home import open_home
from serve_app.samples import COLLECTION, FIRST_QUESTION, FOLDER, INGESTED
from serve_app.state import read_key, read_state

if TYPE_CHECKING:
    from serve_app.platform import Running

Profile = Annotated[
    Literal["local", "inline", "cluster"] | None, typer.Option(help="Where the stages run (configs/profiles/).")
]
Port = Annotated[int | None, typer.Option(min=1, max=65535, help="Port of the API.")]
Detach = Annotated[bool, typer.Option("--detach", help="Return once it is ready; it keeps running.")]
Samples = Annotated[bool, typer.Option(help="Ingest the sample lessons on the first start and ask one question.")]


def up(
    profile: Profile = None,
    port: Port = None,
    detach: Detach = False,
    samples: Samples = True,
    json: JsonOption = False,
) -> None:
    """Start everything and wait until it is ready; Ctrl-C stops it.

    Example: penstock up --profile inline --port 8001 --detach
    """
    with readable_errors():
        loaded = settings(server__profile=profile, server__port=port)
        if detach:
            _start_detached(loaded, samples=samples, as_json=json)
        else:
            asyncio.run(_run(loaded, samples=samples, as_json=json))


async def _run(loaded: Settings, *, samples: bool, as_json: bool) -> None:
    from serve_app.platform import running

    task = asyncio.current_task()
    assert task is not None
    loop = asyncio.get_running_loop()
    asked_to_stop = False

    def stop_once() -> None:
        """A second Ctrl-C must not cancel the stopping; that ends by itself within seconds."""
        nonlocal asked_to_stop
        if not asked_to_stop:
            asked_to_stop = True
            task.cancel()

    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        loop.add_signal_handler(number, stop_once)
    started = time.monotonic()
    try:
        with Steps(OUT, as_json=as_json) as steps:
            async with running(loaded, steps.report) as platform:
                if samples and not (platform.home.path / INGESTED).exists():
                    steps.report("samples", "ingesting")
                    await _ingest_samples(platform, steps)
                steps.finish(ok=True)
                await _show_ready(platform, time.monotonic() - started, as_json=as_json, samples=samples)
                await asyncio.Event().wait()
    except asyncio.CancelledError:
        if not as_json:
            OUT.print("Stopped.")


async def _ingest_samples(platform: "Running", steps: Steps) -> None:
    from serve_app.commands.ingest import ingest_path

    summary = await ingest_path(
        platform.home, platform.dashboard, FOLDER, COLLECTION, None, lambda doing: steps.report("samples", doing)
    )
    if summary.get("failed"):
        raise SetupError("The sample lessons could not be ingested.", f"{summary}")
    (platform.home.path / INGESTED).touch()


async def _show_ready(platform: "Running", seconds: float, *, as_json: bool, samples: bool) -> None:
    if as_json:
        print_json(event="ready", url=platform.url, seconds=round(seconds, 1))
        return
    OUT.print(f"\nPenstock is ready after {seconds:.0f} s at [bold]{platform.url}[/]\n", highlight=False)
    if samples:
        OUT.print(f"[bold]Question:[/] {FIRST_QUESTION}", highlight=False)
        from serve_app.commands.ask import ask_question

        await ask_question(platform.url, platform.api_key, FIRST_QUESTION, COLLECTION, OUT)
    OUT.print("[bold]Try it[/] in another terminal:\n")
    OUT.print(_first_commands(platform), highlight=False, markup=False, soft_wrap=True)
    OUT.print("\nCtrl-C stops everything.", style="dim")


def _first_commands(platform: "Running") -> str:
    program = shlex.quote(sys.argv[0])
    home = f"PENSTOCK_HOME={platform.home.path} " if "PENSTOCK_HOME" in os.environ else ""
    body = shlex.quote(orjson.dumps({"question": FIRST_QUESTION, "collection": COLLECTION}).decode())
    return (
        f'  {home}{program} ask "{FIRST_QUESTION}"\n\n'
        f"  curl {platform.url}/api/v1/ai-tutor/query \\\n"
        f'    -H "Authorization: Bearer $({home}{program} key)" \\\n'
        f'    -H "Content-Type: application/json" \\\n'
        f"    -d {body}"
    )


def _start_detached(loaded: Settings, *, samples: bool, as_json: bool) -> None:
    """Start `penstock up --json` in a session of its own and show its steps until it is ready."""
    from serve_app.platform import check_port

    home = open_home(home_of(loaded))
    with home.lock():  # a platform that runs already holds its port, too, and is the better reason
        check_port(loaded)
    log = home.logs / "up.log"
    log.unlink(missing_ok=True)
    server = loaded.server
    command = [sys.executable, "-m", "serve_app.cli", "up", "--json", "--profile", server.profile]
    command += ["--port", str(server.port), "--samples" if samples else "--no-samples"]
    descriptor = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    with os.fdopen(descriptor, "wb") as output:
        process = subprocess.Popen(
            command, stdin=subprocess.DEVNULL, stdout=output, stderr=output, start_new_session=True
        )
    try:
        _follow(process, log.open("rb"), as_json=as_json)
    except BaseException:
        process.send_signal(signal.SIGTERM)
        process.wait()
        raise


def _follow(process: "subprocess.Popen[bytes]", log: "object", *, as_json: bool) -> None:
    reader = log
    with Steps(OUT, as_json=as_json) as steps:
        other: list[str] = []
        while True:
            line = reader.readline()  # type: ignore[attr-defined]
            if not line:
                if process.poll() is not None:
                    raise SetupError("Penstock did not start:", "\n".join(other[-20:]))
                time.sleep(0.05)
                continue
            try:
                event = orjson.loads(line)
            except orjson.JSONDecodeError:
                other.append(line.decode(errors="replace").rstrip())
                continue
            if event["event"] == "step":
                steps.report(event["step"], event["doing"])
            elif event["event"] == "ready":
                break
    if as_json:
        print_json(**event)
    else:
        OUT.print(f"\nPenstock is ready at [bold]{event['url']}[/]; `penstock down` stops it.", highlight=False)


def down(json: JsonOption = False) -> None:
    """Stop everything that `penstock up` started, also what a killed run left behind.

    Example: penstock down
    """
    from serve_app.platform import take_down

    with readable_errors():
        started = time.monotonic()
        stopped = take_down(home_of(settings()))
        seconds = time.monotonic() - started
    if json:
        print_json(stopped=stopped, seconds=round(seconds, 1))
    else:
        OUT.print(f"Stopped after {seconds:.1f} s." if stopped else "It was not running.", highlight=False)


def status(json: JsonOption = False) -> None:
    """Show whether the platform runs and how its parts are. Exit code 1 when something is not healthy.

    Example: penstock status --json
    """
    import httpx

    with readable_errors():
        home = home_of(settings())
        state = read_state(home)
        headers = {"x-api-key": read_key(home)}
        try:
            answer = httpx.get(f"{state['url']}/health/detailed", headers=headers, timeout=10).json()
        except (httpx.HTTPError, ValueError) as error:
            raise SetupError(f"{state['url']} does not answer: {error}.", "Look into the logs folder.") from None
        if "components" not in answer:
            raise PenstockError(f"{state['url']} does not tell its health: {answer['error']['message']}")
    if json:
        print_json(url=state["url"], **answer)
    else:
        _print_status(OUT, state["url"], answer)
    raise typer.Exit(0 if answer["status"] == "healthy" else 1)


def _print_status(console: Console, url: str, answer: dict[str, object]) -> None:
    console.print(f"{url}  [bold]{answer['status']}[/]", highlight=False)
    components = answer["components"]
    assert isinstance(components, dict)
    for name, component in components.items():
        details = "  ".join(f"{key} {value}" for key, value in component.items() if key != "status")
        console.print(f"  {name:<16} {component['status']:<14} [dim]{escape(details)}[/]", highlight=False)


def key() -> None:
    """Print a usable administrator's API key and nothing else.

    Example: curl -H "Authorization: Bearer $(penstock key)" http://127.0.0.1:8000/v1/models
    """
    with readable_errors():
        text = read_key(home_of(settings()))
    sys.stdout.write(text + "\n")
    if not sys.stdout.isatty():
        return
    ERR.print("Anybody with this key can use the platform.", style="dim")
