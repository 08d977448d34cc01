"""A minimal Ray Serve application, in a Ray of its own: what this machine is worth, measured beside the product.

GET /zero answers at once, GET /one calls one other deployment first. A yardstick and not a bound: FastAPI handles its
requests in its usual way, which costs more than the product's own routes do. `bare_serve()` starts and stops it, as a
process `python -m load.bare_serve`.
"""

import argparse
import asyncio
import ctypes
import os
import select
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import orjson
import psutil
from fastapi import FastAPI

from load.bare_env import bare_environment, free_block
from load.memory import processes_of
from load.parent import parent_gone

ROOT = Path(__file__).resolve().parents[1]
START_SECONDS = 120.0
STOP_SECONDS = 5.0
OBJECT_STORE_BYTES = 128 * 1024 * 1024
PR_SET_CHILD_SUBREAPER = 36


class BareServeError(RuntimeError):
    """The bare application did not start."""


@dataclass(frozen=True, slots=True)
class BareServe:
    """A running bare application. `url` has no path. `folder`: its home, for `load.memory.processes_of`."""

    url: str
    folder: Path


class Hop:
    """The deployment that /one calls."""

    async def answer(self) -> str:
        """Nothing but the hop."""
        return "ok"


class Ingress:
    """Built as the product's ingress is: the app is made in the replica, and gets handles as constructor arguments."""

    def __init__(self, handles: Mapping[str, Any]) -> None:
        self._hop = handles["hop"]

    def __serve_build_asgi_app__(self) -> FastAPI:
        """Called once in each replica."""
        app = FastAPI()

        @app.get("/zero")
        async def zero() -> dict[str, str]:
            return {"answer": "ok"}

        @app.get("/one")
        async def one() -> dict[str, str]:
            return {"answer": await self._hop.answer.remote()}

        return app


@contextmanager
def bare_serve() -> Iterator[BareServe]:
    """The application on free ports, ended with the block and everything that it started. Raises BareServeError."""
    # Directly in /tmp: Ray and HAProxy append long names to it, and a socket's path ends at 107 bytes.
    folder = Path(tempfile.mkdtemp(prefix="pl-", dir="/tmp"))
    base = free_block()
    log = folder / "log"
    try:
        with log.open("wb") as complained:
            process = subprocess.Popen(
                [sys.executable, "-m", "load.bare_serve", "--base-port", str(base), "--folder", str(folder)],
                cwd=ROOT,
                env=bare_environment(os.environ, folder, base),
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=complained,
                # Its own session: Ctrl-C is for the caller, who ends it in order.
                start_new_session=True,
            )
        try:
            yield BareServe(_url(process, log), folder)
        finally:
            _end(process, folder)
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _url(process: "subprocess.Popen[bytes]", log: Path) -> str:
    assert process.stdout is not None
    said, _, _ = select.select([process.stdout], [], [], START_SECONDS)
    line = process.stdout.readline() if said else b""
    if not line:
        reason = "ended" if said else f"was not ready after {START_SECONDS:.0f} s"
        end = log.read_text("utf-8", "replace")[-2000:]
        raise BareServeError(f"The bare Ray Serve application {reason}.\n{end}")
    return str(orjson.loads(line)["url"])


def _end(process: "subprocess.Popen[bytes]", folder: Path) -> None:
    """Ask it to end what it started; kill what is left then."""
    process.terminate()
    try:
        process.wait(timeout=3 * STOP_SECONDS)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
    if process.stdout is not None:
        process.stdout.close()
    _kill(processes_of(folder))


def _kill(processes: Sequence[psutil.Process]) -> None:
    for process in processes:
        try:
            process.kill()
        except psutil.NoSuchProcess:
            continue
    psutil.wait_procs(processes, timeout=STOP_SECONDS)


def _start(base: int, folder: Path) -> str:
    """Ray's head node on loopback and the application on it; returns its URL when it serves."""
    import ray
    from ray import serve
    from ray._private.node import Node
    from ray._private.parameter import RayParams
    from ray.serve.config import HTTPOptions
    from ray.serve.schema import LoggingConfig

    parameters = RayParams(
        node_ip_address="127.0.0.1",
        gcs_server_port=base + 1,
        num_cpus=os.cpu_count() or 1,
        object_store_memory=OBJECT_STORE_BYTES,
        temp_dir=str(folder / "ray"),
        include_dashboard=False,
        dashboard_agent_listen_port=base + 3,
        metrics_agent_port=base + 4,
        runtime_env_agent_port=base + 5,
        metrics_export_port=base + 6,
        node_manager_port=base + 7,
        object_manager_port=base + 8,
        min_worker_port=0,
        max_worker_port=0,
        include_log_monitor=False,  # type: ignore[arg-type]  # Ray annotates it as str
        no_monitor=True,
    )
    Node(parameters, head=True, shutdown_at_exit=False, spawn_reaper=True)
    ray.init(address=f"127.0.0.1:{base + 1}", namespace="bare", log_to_driver=False)
    serve.start(http_options=HTTPOptions(host="127.0.0.1", port=base + 13))
    options: dict[str, Any] = {
        "ray_actor_options": {"num_cpus": 0.1},
        "max_ongoing_requests": 512,
        "logging_config": LoggingConfig(log_level="WARNING", enable_access_log=False),
    }
    hop: Any = serve.deployment(Hop, name="hop", **options)
    ingress: Any = serve.deployment(serve.ingress()(Ingress), name="ingress", **options)
    serve.run(ingress.bind({"hop": hop.bind()}), name="bare", route_prefix="/")
    return f"http://127.0.0.1:{base + 13}"


async def _until_told_or_alone(parent: int) -> None:
    told = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, told.set)
    waits = [asyncio.ensure_future(told.wait()), asyncio.ensure_future(parent_gone(parent))]
    await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
    for wait in waits:
        wait.cancel()


def main() -> None:
    """Start, print `{"url", "pid"}`, serve until SIGTERM or until the process that started this one is gone."""
    parser = argparse.ArgumentParser(prog="python -m load.bare_serve", description=__doc__)
    parser.add_argument("--base-port", type=int, required=True, help="the first of its 100 ports")
    parser.add_argument("--folder", type=Path, required=True, help="for its sockets and logs; the path must be short")
    options = parser.parse_args()
    parent = os.getppid()
    # What loses its parent becomes our child, not init's: then all that Ray started can be found and ended.
    ctypes.CDLL(None).prctl(PR_SET_CHILD_SUBREAPER, 1)
    try:
        url = _start(options.base_port, options.folder)
        print(orjson.dumps({"url": url, "pid": os.getpid()}).decode(), flush=True)
        asyncio.run(_until_told_or_alone(parent))
    finally:
        import ray

        # First: a driver whose raylet dies ends itself at once.
        ray.shutdown()
        while left := psutil.Process().children(recursive=True):
            _kill(left)
        if os.getppid() != parent:
            # Nobody else is left to do it.
            shutil.rmtree(options.folder, ignore_errors=True)


if __name__ == "__main__":
    main()
