"""Installs the peers, each in a folder of its own, at the versions that the comparison is about."""

import shutil
import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

LITELLM = "litellm[proxy]==1.106.2"
PORTKEY = "@portkey-ai/gateway@1.15.2"
LIMIT_SECONDS = 600

Say = Callable[[str], None]


class InstallError(RuntimeError):
    """A peer could not be installed; the message says what to do."""


def install_litellm(folder: Path, say: Say) -> Path:
    """Its `litellm` program, in a virtual environment."""
    program = folder / "litellm" / "bin" / "litellm"
    if _installed(folder / "litellm", LITELLM) and program.exists():
        return program
    say(f"installing {LITELLM} in {folder / 'litellm'}")
    _run([sys.executable, "-m", "venv", "--clear", str(folder / "litellm")], LITELLM)
    uv = shutil.which("uv", path=str(Path(sys.executable).parent)) or shutil.which("uv")
    python = str(folder / "litellm" / "bin" / "python")
    pip = [uv, "pip", "install", "--quiet", "--python", python] if uv else [python, "-m", "pip", "install", "-q"]
    _run([*pip, LITELLM], LITELLM)
    _mark(folder / "litellm", LITELLM)
    return program


def install_portkey(folder: Path, say: Say) -> Path:
    """Its start script, for `node`. Raises InstallError also where there is no npm."""
    home = folder / "portkey"
    script = home / "node_modules" / "@portkey-ai" / "gateway" / "build" / "start-server.js"
    if _installed(home, PORTKEY) and script.exists():
        return script
    npm = shutil.which("npm")
    if npm is None:
        raise InstallError("Portkey needs node and npm (20 or later): install them, or leave it out with --gateways.")
    say(f"installing {PORTKEY} in {home}")
    home.mkdir(parents=True, exist_ok=True)
    (home / "package.json").write_text('{"private": true}\n')
    _run([npm, "install", "--no-audit", "--no-fund", "--silent", "--prefix", str(home), PORTKEY], PORTKEY)
    _mark(home, PORTKEY)
    return script


def _run(command: Sequence[str], what: str) -> None:
    try:
        result = subprocess.run(command, capture_output=True, text=True, timeout=LIMIT_SECONDS)
    except subprocess.TimeoutExpired as error:
        raise InstallError(f"Installing {what} took longer than {LIMIT_SECONDS} s.") from error
    if result.returncode:
        raise InstallError(f"{what} could not be installed: {(result.stderr or result.stdout).strip()[-800:]}")


def _installed(folder: Path, what: str) -> bool:
    """Whether exactly this was installed there to the end."""
    mark = folder / ".installed"
    return mark.is_file() and mark.read_text() == what


def _mark(folder: Path, what: str) -> None:
    (folder / ".installed").write_text(what)
