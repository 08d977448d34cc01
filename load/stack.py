"""Starts and stops a whole product, through its command line, in a folder of its own."""

import http.client
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import psutil

from load.loopback import free_port, loopback_address
from load.memory import processes_of
from load.paths import COLLECTION
from load.questions import QUESTIONS
from load.simulator.providers import PLAIN_MODEL

ROOT = Path(__file__).resolve().parents[1]
CURRICULUM = ROOT / "samples" / "curriculum"
START_SECONDS = 600.0
STOP_SECONDS = 60.0

Say = Callable[[str], None]


class StackError(RuntimeError):
    """The product could not be started, asked or stopped."""


@dataclass(frozen=True, slots=True)
class Stack:
    """A running product. `ready_seconds`: how long `penstock up` took, None where it ran already. `home`: its
    PENSTOCK_HOME, None where unknown."""

    url: str
    key: str
    ready_seconds: float | None = None
    home: Path | None = None


@contextmanager
def temporary_home() -> Iterator[Path]:
    """A PENSTOCK_HOME to be created, with a short path, removed with the block. Its parent may be entered by the
    unprivileged user that servers run as when we are root."""
    parent = Path(tempfile.mkdtemp(prefix="pb-", dir="/tmp"))
    parent.chmod(0o755)
    try:
        yield parent / "h"
    finally:
        shutil.rmtree(parent, ignore_errors=True)


@contextmanager
def started_stack(
    profile: str,
    home: Path,
    compatible_base_url: str,
    say: Say,
    *,
    more: Mapping[str, str] | None = None,
    curriculum: bool = True,
) -> Iterator[Stack]:
    """`penstock up` with this profile, this compatible provider and, with `curriculum`, the sample curriculum ingested.
    more: further environment variables.

    Always stopped with the block, by `penstock down` and, for what that leaves, by process id. Raises StackError.
    """
    port = free_port()
    environ = stack_environment(os.environ, home, port, compatible_base_url) | dict(more or {})
    say(f"{profile}: starting (the first start of a home also prepares the model and the samples)")
    try:
        began = time.perf_counter()
        _penstock(environ, home, "up", "--profile", profile, "--port", str(port), "--detach", "--json", progress=True)
        seconds = time.perf_counter() - began
        key = _penstock(environ, home, "key").strip()
        stack = Stack(f"http://127.0.0.1:{port}", key, seconds, home)
        if curriculum:
            ensure_curriculum(stack, lambda: _penstock(environ, home, *_INGEST, progress=True))
        say(f"{profile}: ready after {seconds:.1f} s at {stack.url}")
        yield stack
    finally:
        _stop(environ, home, say)


def stack_environment(inherited: Mapping[str, str], home: Path, port: int, compatible_base_url: str) -> dict[str, str]:
    """The environment of the started product: nothing of the caller's own installation, servers or provider keys."""
    foreign = ("DATABASE_URL", "REDIS_URL", "RAG_ENABLED", "USE_LOCAL_EMBEDDINGS", "ENVIRONMENT", "CACHE_TTL")
    kept = {
        name: value
        for name, value in inherited.items()
        if not name.startswith(("PENSTOCK_", "RAY_")) and not name.endswith("_API_KEY") and name not in foreign
    }
    return kept | {
        "PENSTOCK_HOME": str(home),
        "PENSTOCK_SERVER__PORT": str(port),
        "PENSTOCK_PROVIDER_CALLER__COMPATIBLE_BASE_URL": compatible_base_url,
        "PENSTOCK_PROVIDER_CALLER__COMPATIBLE_MODELS": PLAIN_MODEL,
    }


def ensure_curriculum(stack: Stack, ingest: Callable[[], object]) -> None:
    """Ingest the sample curriculum unless its collection is there. Raises StackError when a search then fails."""
    if _search_status(stack) == 404:
        ingest()
    status = _search_status(stack)
    if status != 200:
        raise StackError(f"A search in the collection {COLLECTION!r} is answered with {status}.")


_INGEST = ("ingest", str(CURRICULUM), "--collection", COLLECTION)


def _search_status(stack: Stack) -> int:
    address = loopback_address(stack.url)
    connection = http.client.HTTPConnection(address.host, address.port, timeout=60)
    body = json.dumps({"query": QUESTIONS[0], "collection": COLLECTION, "k": 1})
    headers = {"Authorization": f"Bearer {stack.key}", "Content-Type": "application/json"}
    try:
        connection.request("POST", f"{address.prefix}/v1/context/search", body, headers)
        return connection.getresponse().status
    except OSError as error:
        raise StackError(f"{stack.url} does not answer: {error}") from error
    finally:
        connection.close()


def _penstock(environ: Mapping[str, str], home: Path, *words: str, progress: bool = False) -> str:
    """Run the command line; its standard error is shown when `progress`. The folder above the home is where it runs,
    so that no `.env` of the caller's is read."""
    script = Path(sys.executable).with_name("penstock")
    command = str(script) if script.exists() else shutil.which("penstock")
    if command is None:
        raise StackError("The command `penstock` is not installed beside this Python; `make test` installs it.")
    # Files, not pipes: what stays running in the background may hold its standard output open.
    with tempfile.TemporaryFile("w+") as said, tempfile.TemporaryFile("w+") as complained:
        try:
            done = subprocess.run(
                [command, *words],
                env=dict(environ),
                cwd=home.parent,
                stdout=said,
                stderr=None if progress else complained,
                stdin=subprocess.DEVNULL,
                timeout=START_SECONDS,
                check=False,
            )
        except subprocess.TimeoutExpired as error:
            raise StackError(f"`penstock {words[0]}` took more than {START_SECONDS:.0f} s.") from error
        said.seek(0)
        complained.seek(0)
        output = said.read()
        if done.returncode:
            details = f"{output}\n{complained.read()}".strip()
            raise StackError(f"`penstock {words[0]}` ended with exit code {done.returncode}.\n{details}")
        return output


def _stop(environ: Mapping[str, str], home: Path, say: Say) -> None:
    say("stopping")
    try:
        _penstock(environ, home, "down")
    except StackError as error:
        say(f"`penstock down` failed: {error}")
    _, left = psutil.wait_procs(processes_of(home), timeout=5)
    if left:
        say(f"{len(left)} processes were left over and are killed: {', '.join(str(process.pid) for process in left)}")
    for process in left:
        try:
            process.kill()
        except psutil.NoSuchProcess:
            continue
    psutil.wait_procs(left, timeout=STOP_SECONDS)
